/** The control channel: followers, requests that cannot be, pause and resume, detaching. */

import { afterEach, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { encodeFrame } from "../../../src/wire/framing.ts";
import { FrameSocket } from "../../../src/wire/socket.ts";
import { AGENT_PORT, ask, Channel, Machine, untilGone } from "./machine.ts";

let machine: Machine;
afterEach(() => machine.stop());

async function up(plan = {}): Promise<Machine> {
  machine = await Machine.start({}, plan);
  await machine.ready();
  return machine;
}

const socket = () => join(machine.runtimeDir, "control.sock");

test("control.sock is closed to other users", async () => {
  await up();
  expect(statSync(machine.runtimeDir).mode & 0o777).toBe(0o700);
});

test("a follower gets the events from its status on, another channel none", async () => {
  await up({ main: { argv: ["/bin/sh", "-c", "while :; do echo tick; sleep 0.1; done"] } });
  const follower = await Channel.to(socket());
  const silent = await Channel.to(socket());
  const { result } = await follower.request("status", { follow: true });
  expect(result).toMatchObject({ state: "running" });
  await silent.request("status");
  await follower.event("guest");
  expect(silent.events).toEqual([]);
  await machine.request("stop");
  expect(await follower.event("exited")).toEqual({ event: "exited", reason: "stopped" });
});

test("a follower that does not read is dropped, and holds nobody up", async () => {
  await up({ main: { argv: ["/bin/sh", "-c", "head -c 33554432 /dev/zero; sleep 1000"] } });
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  let reads = false;
  const lazy = await Bun.connect({
    unix: socket(),
    socket: { data: (raw) => void (reads || raw.pause()), close: () => resolve(), error: () => resolve() },
  });
  lazy.write(encodeFrame({ id: 1, op: "status", follow: true }));
  const size = () =>
    machine.events
      .filter((event) => event.event === "guest")
      .reduce((sum, event) => sum + (event.data as Uint8Array).length, 0);
  const late = Date.now() + 30_000;
  while (size() < 32 << 20 && Date.now() < late) await Bun.sleep(50);
  expect(size()).toBeGreaterThanOrEqual(32 << 20);
  reads = true;
  lazy.resume();
  await closed;
});

test("requests that cannot be are answered, or end their channel", async () => {
  await up();
  const code = async (op: string, fields = {}) =>
    ((await machine.request(op, fields)).error as { code: string }).code;
  expect(await code("dance")).toBe("ENOSYS");
  expect(await code("listen")).toBe("EINVAL");
  expect(await code("listen", { port: 0 })).toBe("EINVAL");
  expect(await code("listen", { port: "52" })).toBe("EINVAL");
  expect(await code("console")).toBe("EINVAL");
  expect(await code("memory")).toBe("ENODEV");
  const other = await Channel.to(socket());
  other.send(Buffer.from([0, 0, 0, 1, 0xff]));
  expect(await other.reply(0)).toMatchObject({ error: { code: "EINVAL" } });
  other.send(Buffer.from([0xff, 0xff, 0xff, 0xff]));
  await expect(other.event("anything")).rejects.toThrow("closed");
  expect(await machine.request("status")).toHaveProperty("result");
});

test("confined, a VMM has one directory in its runtime directory, and the rest by what it has opened", async () => {
  await up();
  const { vmm } = await machine.processes();
  const { confinement } = await machine.status();
  const alone = (confinement as Record<string, Record<string, { applied: boolean }>>)["capsa-vmm"]!
    .namespaces!.applied;
  const seen = readdirSync(`/proc/${vmm}/root${machine.runtimeDir}`).sort();
  const all = ["console.log", "control.sock", "events.log", "initrd.cpio", "vmm"];
  expect(seen).toEqual(alone ? ["vmm"] : all);
  expect(readdirSync(machine.runtimeDir).sort()).toEqual(all);
  expect(await Channel.to(socket()).then((channel) => channel.request("status"))).toHaveProperty("result");
});

test("a port is listened on when asked, more than once", async () => {
  await up();
  expect(await machine.request("listen", { port: 1234 })).not.toHaveProperty("error");
  expect(await machine.request("listen", { port: 1234 })).not.toHaveProperty("error");
  expect(statSync(join(machine.runtimeDir, "vmm/1234.sock")).isSocket()).toBe(true);
  // nobody listens in the guest: the client sees the end
  const unix = join(machine.runtimeDir, "vmm/1234.sock");
  await expect(ask(unix, { id: 1 })).rejects.toThrow(/closed without an answer|Failed to connect/); // how, is a race
});

test("pause stops the guest, resume lets it go on, and its streams live", async () => {
  await up();
  const answers: unknown[] = [];
  const agent = await FrameSocket.connect(
    { unix: join(machine.runtimeDir, "vmm", `${AGENT_PORT}.sock`) },
    { onFrame: (message) => answers.push(message.id), onClose: () => answers.push("closed") },
  );
  const until = async (count: number) => {
    const late = Date.now() + 10_000;
    while (answers.length < count && Date.now() < late) await Bun.sleep(5);
  };
  agent.send(encodeFrame({ id: 1, op: "ping" }));
  await until(1);
  for (let round = 0; round < 3; round++) {
    expect(await machine.request("pause")).not.toHaveProperty("error");
    expect(await machine.request("pause")).not.toHaveProperty("error");
    expect(await machine.status()).toMatchObject({ state: "paused" });
    agent.send(encodeFrame({ id: 2 + round, op: "ping" }));
    const { vmm, qemu } = await machine.processes();
    const cpu = () => cpuTicks(vmm) + cpuTicks(qemu);
    const before = cpu();
    await Bun.sleep(500);
    expect(answers.length).toBe(1 + round);
    expect(cpu() - before).toBeLessThan(10); // of 50
    expect(await machine.request("resume")).not.toHaveProperty("error");
    await until(2 + round);
  }
  expect(answers).toEqual([1, 2, 3, 4]);
  agent.close();
  expect(await machine.agent({ id: 9, op: "ping" })).toMatchObject({ ok: true });
});

test("a port asked for during a pause is refused at once, and opened after it", async () => {
  await up();
  await machine.request("pause");
  expect(await machine.request("listen", { port: 1234 })).toMatchObject({ error: { code: "EBUSY" } });
  expect(await machine.request("resume")).not.toHaveProperty("error");
  expect(await machine.request("listen", { port: 1234 })).not.toHaveProperty("error");
});

test("stop while paused", async () => {
  await up();
  await machine.request("pause");
  await machine.request("stop");
  expect(await machine.gone()).toEqual({ event: "exited", reason: "stopped" });
});

test("detach: the sandbox outlives the starter's channel", async () => {
  await up();
  const processes = await machine.processes();
  expect(await machine.request("detach")).not.toHaveProperty("error");
  machine.close();
  await Bun.sleep(1700);
  const other = await Channel.to(socket());
  const { result } = await other.request("status");
  expect(result).toMatchObject({ state: "running", detached: true });
  expect(await machine.agent({ id: 1, op: "ping" })).toMatchObject({ ok: true });
  await other.request("stop");
  await untilGone(Object.values(processes), machine.runtimeDir, 2000);
});

/** Processor time a process has taken, hundredths of a second. */
function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

test("a machine whose time is over ends, paused or not", async () => {
  machine = await Machine.start({ ttl: 1500 });
  await machine.event("started");
  await machine.request("pause").catch(() => {}); // on a slow machine it may be over already
  expect(await machine.gone()).toEqual({ event: "exited", reason: "expired" });
});
