/** What a sandbox uses: counted where it happens, and told to programs, people and Prometheus. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type Agent,
  Capsa,
  MountMode,
  NetworkMode,
  type RunningSandbox,
  sandbox,
  startSandbox,
} from "../../src/index.ts";
import { capsa, ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";

const MIB = 1024 ** 2;
const name = `metrics-${process.pid.toString(36)}`;
ownRuntimeDirectory();
let share: { path: string } & AsyncDisposable;
let vm: RunningSandbox;
let agent: Agent;

beforeAll(async () => {
  share = await scratch();
  await writeFile(join(share.path, "in"), Buffer.alloc(3 * MIB, "x"));
  vm = await Capsa.sandbox()
    .name(name)
    .memoryMb(256)
    .network(NetworkMode.UserNat())
    .share(share.path, "/share", MountMode.ReadWrite)
    .run("/bin/sleep", ["infinity"])
    .build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
}, 60_000);
afterAll(async () => {
  await vm[Symbol.asyncDispose]();
  await share[Symbol.asyncDispose]();
});

const written = { guest: "/share", used: true, written: true, entries: ["out"], more: false };

test("processor, memory, files and network are counted, each for itself", async () => {
  const before = await vm.metrics();
  expect(before).toMatchObject({ state: "running", shares: { readBytes: 0, writtenBytes: 0 } });
  expect(before.cpuMs).toBeGreaterThan(0);
  // it has been mounted, which is no use of it
  expect(await vm.shareUse()).toEqual([{ ...written, used: false, written: false, entries: [] }]);
  const { memory } = before;
  expect(memory.sizeBytes).toBe(256 * MIB);
  expect(memory.guestTotalBytes!).toBeLessThan(memory.sizeBytes);
  expect(memory.guestAvailableBytes!).toBeLessThan(memory.guestTotalBytes!);
  expect(memory.residentBytes).toBeGreaterThan(16 * MIB);

  // 2 MiB written, 3 MiB read, 32 MiB of memory filled, one echo request of 1,000 bytes, answered or not
  await agent.exec("head -c 2097152 /dev/zero >/share/out; cat /share/in >/dev/null");
  await agent.exec("head -c 33554432 /dev/zero >/tmp/fill");
  await agent.exec("ping -c 1 -W 1 -s 1000 10.0.2.2 || true");
  const after = await vm.metrics();
  expect(after.shares).toMatchObject({ readBytes: 3 * MIB, writtenBytes: 2 * MIB });
  expect(after.shares.requests - before.shares.requests).toBeGreaterThanOrEqual(5); // a MiB each, at most
  expect(await vm.shareUse()).toEqual([written]);
  expect(after.memory.residentBytes - memory.residentBytes).toBeGreaterThan(24 * MIB);
  expect(memory.guestAvailableBytes! - after.memory.guestAvailableBytes!).toBeGreaterThan(24 * MIB);
  expect(after.network!.sentBytes - before.network!.sentBytes).toBeGreaterThanOrEqual(1000);
  expect(after.cpuMs).toBeGreaterThan(before.cpuMs);
  expect(after.uptimeMs).toBeGreaterThan(before.uptimeMs);
});

test("memory that the guest does not need is this machine's again, asked for or not", async () => {
  const resident = async () => (await vm.metrics()).memory.residentBytes;
  const patient = { timeoutMs: 60_000 };
  const full = await resident();
  await agent.exec("rm /tmp/fill");
  await expect(vm.setMemory("160M", { timeoutMs: 0 })).rejects.toMatchObject({ code: "ETIMEDOUT" });
  expect(await vm.setMemory("160M", patient)).toBe(160 * MIB); // it has not stopped trying
  const { memory } = await vm.metrics();
  expect(memory.currentBytes).toBe(160 * MIB);
  expect(memory.guestTotalBytes!).toBeLessThan(160 * MIB);
  expect(full - memory.residentBytes).toBeGreaterThan(16 * MIB);

  expect(await vm.setMemory(256 * MIB, patient)).toBe(256 * MIB);
  await agent.exec("dd if=/dev/zero of=/tmp/more bs=1M count=64");
  const before = await resident();
  await agent.exec("rm /tmp/more");
  while (before - (await resident()) < 32 * MIB) await Bun.sleep(100); // the guest's kernel takes a moment to report

  await expect(vm.setMemory("257M")).rejects.toMatchObject({ code: "EINVAL" });
  for (const size of ["lots", 1024, Number.NaN, "1.5G"])
    await expect(vm.setMemory(size)).rejects.toMatchObject({ code: "SPEC_INVALID" });
});

test("many devices leave engine qemu no place for a balloon, one more is refused, and both are told", async () => {
  const builder = Capsa.sandbox().memoryMb(128).rootfs("host").network(NetworkMode.UserNat());
  const spec = builder.run("/bin/sleep", ["infinity"]).spec();
  const networks = ["a", "b", "c", "d"].map((network) => ({ name: network, scope: name, as: "full" }));
  await using full = await startSandbox({ ...spec, networks: networks.slice(1) });
  await full.ready;
  const set = full.setMemory("120M", { timeoutMs: 60_000 }).catch(({ code }) => code);
  expect(await set).toBe(full.engine === "qemu" ? "ENODEV" : 120 * MIB);
  if (full.engine === "kvm") return;
  await full.kill();
  const said = "has places for 8 devices, and this machine has 9";
  await expect(startSandbox({ ...spec, networks })).rejects.toThrow(said);
});

test("one that is paused is told without its guest", async () => {
  await vm.pause();
  const { state, memory } = await vm.metrics();
  await expect(vm.setMemory("128M")).rejects.toMatchObject({ code: "EBUSY" });
  await vm.resume();
  expect(state).toBe("paused");
  expect(memory).toEqual({ sizeBytes: 256 * MIB, residentBytes: expect.any(Number) });
});

test("the command line tells people, programs and Prometheus", async () => {
  const runs = [["metrics"], ["metrics", name, "--json"], ["metrics", "--prometheus"], ["metrics", "none"]];
  const [table, json, prometheus, none] = await Promise.all(runs.map((args) => capsa(args)));
  expect(table!.stdout).toMatch(new RegExp(`^NAME .*\\n${name} +running .* 3\\.0 MiB +2\\.0 MiB `));
  expect(JSON.parse(json!.stdout)).toMatchObject([
    { name, id: vm.id, state: "running", shares: { readBytes: 3 * MIB, writtenBytes: 2 * MIB } },
  ]);
  expect(prometheus!.stdout).toContain(
    `# TYPE capsa_sandbox_shares_read_bytes_total counter\ncapsa_sandbox_shares_read_bytes_total{name="${name}",id="${vm.id}"} ${3 * MIB}\n`,
  );
  expect(none).toMatchObject({
    exitCode: 125,
    stderr: expect.stringContaining('no sandbox "none" is running'),
  });
  expect((await capsa(["metrics", "--json", "--prometheus"])).exitCode).toBe(2);
});

test("after its end there are none, but what it had used of its shares is known", async () => {
  await vm.kill();
  expect(await vm.shareUse()).toEqual([written]);
  await expect(vm.metrics()).rejects.toMatchObject({ code: "VMM_GONE" });
});
