/** Raw VMs: Debian's kernel with an initrd of its own, used by console, disks and vsock alone. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Capsa, ConsoleError, list, type RawVm, type VmOptions } from "../../src/index.ts";
import { type Guest, makeGuest } from "./raw_guest.ts";

/** Emulated twice, as in the lab, a distribution's kernel takes its time. */
const PATIENCE = { timeoutMs: 90_000 };
const SECTOR = 512;

const top = mkdtempSync(join(tmpdir(), "capsa-raw-"));
const runtime = join(top, "run");
const before = process.env.CAPSA_RUNTIME_DIR;
const writable = join(top, "writable.img");
const readOnly = join(top, "read-only.img");
let guest: Guest;

beforeAll(async () => {
  mkdirSync(runtime, { mode: 0o700 });
  process.env.CAPSA_RUNTIME_DIR = runtime;
  writeFileSync(writable, Buffer.alloc(1 << 20, "w"));
  writeFileSync(readOnly, Buffer.alloc(8 * SECTOR, "r"));
  guest = await makeGuest(top);
}, 300_000);

afterAll(() => {
  if (before === undefined) delete process.env.CAPSA_RUNTIME_DIR;
  else process.env.CAPSA_RUNTIME_DIR = before;
  rmSync(top, { recursive: true });
});

function machine(change: Partial<VmOptions> = {}): RawVm {
  return Capsa.vm({ ...guest, memoryMb: 256, cmdline: "console=ttyS0 quiet panic=-1", ...change });
}

/** What is left of VMs in the runtime directory. */
const left = () => readdirSync(runtime).filter((name) => !name.startsWith("."));

async function failure(promise: Promise<unknown>): Promise<ConsoleError> {
  const error = await promise.then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(ConsoleError);
  return error;
}

describe("a machine with a login", () => {
  let vm: RawVm;
  const exec = (command: string) => vm.console.exec(command, PATIENCE);

  beforeAll(async () => {
    vm = machine({
      name: "raw",
      cpus: 2,
      confine: "require",
      disks: [{ path: writable }, { path: readOnly, readOnly: true }],
    });
    expect((await vm.status()).state).toBe("created");
    await vm.start();
  }, 120_000);

  afterAll(() => vm?.[Symbol.asyncDispose]());

  test("comes to its login prompt, and lets in who has the password", async () => {
    const { index, before: boot } = await vm.console.waitForAny([/Kernel panic/, "login:"], PATIENCE);
    expect(index).toBe(1);
    expect(boot).not.toContain("no virtio");
    const refused = await failure(vm.console.login("guest", "wrong", PATIENCE));
    expect(refused.code).toBe("LOGIN_FAILED");
    expect(refused.consoleTail).toContain("Login incorrect");
    expect(await failure(vm.console.login("guest", undefined, PATIENCE))).toMatchObject({
      code: "LOGIN_FAILED",
      message: expect.stringContaining('asks for a password of user "guest"'),
    });
    await vm.console.writeLine("wrong again"); // the prompt is open still
    await vm.console.login("guest", "secret", PATIENCE);
    expect(await exec("id -un")).toEqual({ output: "guest\n", exitCode: 0 });
    await vm.console.writeLine("exit");
    await vm.console.login("root", undefined, PATIENCE);
    expect(await exec("id -u; nproc")).toEqual({ output: "0\n2\n", exitCode: 0 });
    expect(vm.console.text()).toContain("debian login: root");
  }, 300_000);

  test("a command's output is to the byte, and its exit code is told", async () => {
    expect(await exec("printf 'no end'; (exit 7)")).toEqual({ output: "no end", exitCode: 7 });
    expect(await exec("cd /etc")).toEqual({ output: "", exitCode: 0 });
    const odd = `it's "odd": $HOME \\ ! % * äöü \t;`;
    const quoted = odd.replaceAll("'", "'\\''");
    expect(await exec(`printf '%s\\n' '${quoted}'\npwd`)).toEqual({ output: `${odd}\n/etc\n`, exitCode: 0 });
  }, 120_000);

  test("a line that the terminal wraps is not taken for output", async () => {
    const words = "word ".repeat(20);
    expect(await exec(`: ${words}; echo ${words} | wc -w`)).toEqual({ output: "20\n", exitCode: 0 });
  }, 120_000);

  test("Ctrl-C interrupts, Ctrl-D ends the input, and so does a limit end a command", async () => {
    const sleeping = exec("sh -c 'echo asleep; exec sleep 1000'"); // a shell of its own ends, wherever it is
    await vm.console.waitFor(/^asleep/m, PATIENCE);
    await vm.console.sendInterrupt();
    expect((await sleeping).exitCode).toBe(130);

    const copying = exec("echo reading; cat >/root/typed");
    await vm.console.waitFor(/^reading/m, PATIENCE);
    await vm.console.writeLine("typed in");
    await vm.console.sendEof();
    expect((await copying).exitCode).toBe(0);
    expect((await exec("cat /root/typed")).output).toBe("typed in\n");

    const late = await failure(vm.console.exec("echo over; sleep 1000", { timeoutMs: 5000 }));
    expect(late.code).toBe("CONSOLE_TIMEOUT");
    expect(late.message).toContain('before the command "echo over; sleep 1000" ended on the console');
    expect(await exec("echo of use again")).toMatchObject({ exitCode: 0 });
  }, 180_000);

  test("waiting has a limit, and its error shows the console's end", async () => {
    await exec("echo before the end");
    const late = await failure(vm.console.waitFor("what never comes", { timeoutMs: 200 }));
    expect(late.code).toBe("CONSOLE_TIMEOUT");
    expect(late.message).toContain('before the console showed "what never comes"');
    expect(late.message).toContain("  before the end");
  }, 60_000);

  test("what it writes to a disk is in the host's file; a read-only one is refused on the host", async () => {
    const { output } = await exec(
      "cat /sys/block/vda/size /sys/block/vdb/size /sys/block/vdb/ro; head -c 4 /dev/vdb",
    );
    expect(output).toBe(`${(1 << 20) / SECTOR}\n8\n1\nrrrr`);
    const put = (disk: string) =>
      exec(`echo capsa | dd of=${disk} bs=512 seek=3 conv=notrunc,sync,fsync 2>&1`);
    expect((await put("/dev/vda")).exitCode).toBe(0);
    const image = readFileSync(writable);
    expect(image.toString("latin1", 3 * SECTOR - 2, 3 * SECTOR + 8)).toBe("wwcapsa\n\0\0");
    expect(image.length).toBe(1 << 20);
    expect((await put("/dev/vdb")).exitCode).not.toBe(0);
    expect(readFileSync(readOnly).every((byte) => byte === "r".charCodeAt(0))).toBe(true);
    const other = machine({ disks: [{ path: writable }] });
    await expect(other.start()).rejects.toMatchObject({
      code: "EBUSY",
      message: expect.stringContaining("in use"),
    });
  }, 120_000);

  test("vsock goes both ways", async () => {
    const said: string[] = [];
    await using listener = await vm.vsockListen(1025, (stream) => {
      stream.on("data", (data) => {
        said.push(data.toString());
        stream.end("heard");
      });
    });
    expect(listener.port).toBe(1025);
    expect(await exec("vsock 1025 'guest speaking'")).toEqual({ output: "heard", exitCode: 0 });
    expect(said).toEqual(["guest speaking"]);
    await expect(vm.vsockListen(1025, () => {})).rejects.toMatchObject({ code: "EADDRINUSE" });

    const serving = exec("vsock 1024");
    await vm.console.waitFor(/^listening/m, PATIENCE);
    const socket = vm.vsockSocket(1024);
    await socket.opened;
    const stream = createConnection(`${socket}`);
    stream.end("host speaking");
    let answer = "";
    for await (const data of stream) answer += data;
    expect(answer).toBe("host speaking");
    expect((await serving).exitCode).toBe(0);
  }, 120_000);

  test("it pauses, goes on, tells how it is, and is on no list of sandboxes", async () => {
    expect(await vm.status()).toMatchObject({ state: "running", name: "raw", cpus: 2, memoryMb: 256 });
    await vm.pause();
    expect((await vm.status()).state).toBe("paused");
    await vm.resume();
    expect(await exec("echo on")).toEqual({ output: "on\n", exitCode: 0 });
    expect(await list()).toEqual([]);
    await expect(machine({ name: "raw" }).start()).rejects.toMatchObject({ code: "NAME_IN_USE" });
  }, 60_000);

  test("it powers off, and nothing is left of it", async () => {
    const ended = vm.wait();
    const waiting = failure(vm.console.waitFor("what never comes", PATIENCE));
    await vm.console.writeLine("poweroff");
    expect(await ended).toEqual({ reason: "shutdown" });
    expect(await waiting).toMatchObject({ code: "VM_ENDED" });
    expect((await vm.status()).state).toBe("ended");
    expect(left()).toEqual([]);
    await expect(vm.start()).rejects.toMatchObject({ code: "ALREADY_STARTED" });
  }, 120_000);
});

test("killed in the middle of its boot it is gone", async () => {
  const vm = machine();
  await vm.start();
  const shown = new Response(vm.console.output).bytes();
  expect(await vm.kill()).toEqual({ reason: "stopped" });
  expect(left()).toEqual([]);
  expect((await shown).length).toBeLessThan(1 << 20);
}, 60_000);

test("a start that is aborted, or left by its scope, leaves nothing", async () => {
  await expect(machine().start({ signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
  {
    await using vm = machine();
    vm.start().catch(() => {});
  }
  expect(left()).toEqual([]);
}, 60_000);

test("a kernel that stops for a reason says it on the console, and its reset ends the VM", async () => {
  const { initrd: _, ...without } = guest;
  await using vm = Capsa.vm({ ...without, memoryMb: 128, cmdline: "console=ttyS0 quiet panic=1" });
  await vm.start();
  await vm.console.waitFor("Unable to mount root fs", PATIENCE);
  expect(await vm.wait()).toEqual({ reason: "shutdown" });
}, 120_000);

test("a kernel without ACPI, such as capsa's own, finds its disks in their order as well", async () => {
  const { kernelPath } = await import("../../src/host/installation.ts");
  await using vm = machine({
    kernel: await kernelPath(),
    acpi: false,
    disks: [{ path: writable }, { path: readOnly, readOnly: true }],
  });
  await vm.start();
  await vm.console.login("root", undefined, PATIENCE);
  const { output } = await vm.console.exec("cat /sys/block/vda/serial /sys/block/vdb/serial", PATIENCE);
  expect(output).toBe("disk0disk1");
  expect(await vm.stop({ command: "poweroff -f" })).toEqual({ reason: "shutdown" });
}, 120_000);
