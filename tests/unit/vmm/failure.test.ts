/** What cannot start says why, in words, and leaves nothing. */

import { expect, test } from "bun:test";
import { chmodSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startVmm } from "../../../src/engine/library.ts";
import { kernelPath } from "../../../src/host/installation.ts";
import { MEMORY } from "../../../src/spec/machine.ts";
import { Machine, makeConfig, scratch } from "./machine.ts";

async function failureOf(change: object): Promise<{ code: string; message: string }> {
  const machine = await Machine.start(change as never);
  const { code, message } = await machine.event("failed");
  expect(await machine.event("exited")).toEqual({ event: "exited", reason: "failed" });
  await machine.gone();
  return { code: String(code), message: String(message) };
}

test("no kernel", async () => {
  const { code, message } = await failureOf({ kernel: "/nowhere/vmlinux" });
  expect(code).toBe("ENOENT");
  expect(message).toContain("/nowhere/vmlinux");
  expect(message).toContain("kernel build");
});

test("no initrd", async () => {
  expect(await failureOf({ initrd: "/nowhere/initrd" })).toMatchObject({
    code: "ENOENT",
    message: expect.stringMatching(/initrd \/nowhere/),
  });
});

test("a kernel that is none", async () => {
  using dir = scratch();
  const kernel = join(dir.path, "vmlinux");
  writeFileSync(kernel, Buffer.alloc(100_000, "not a kernel "));
  const { code, message } = await failureOf({ kernel });
  expect(code).toBe("KERNEL_INVALID");
  expect(message).toContain(kernel);
});

test("no QEMU", async () => {
  const { code, message } = await failureOf({ qemu: { path: "/nowhere/qemu" } });
  expect(code).toBe("ENGINE_MISSING");
  expect(message).toContain("apt-get install qemu-system-x86");
});

test("a QEMU that is something else", async () => {
  const { code, message } = await failureOf({ qemu: { path: "/bin/false" } });
  expect(code).toBe("ENGINE_FAILED");
  expect(message).toContain("code 1");
});

test("a share that is not there", async () => {
  const roots = [{ name: "0", path: "/nowhere/share", readOnly: true }];
  const { code, message } = await failureOf({ fs: [{ tag: "capsa", roots }] });
  expect(code).toBe("ENOENT");
  expect(message).toContain("/nowhere/share");
});

test("a share or a disk whose name another one has taken since it was looked at", async () => {
  using dir = scratch();
  const { dev, ino } = statSync(dir.path, { bigint: true });
  const looked = { path: dir.path, readOnly: true, identity: [dev, ino + 1n] };
  for (const change of [{ fs: [{ tag: "capsa", roots: [{ name: "0", ...looked }] }] }, { disks: [looked] }]) {
    expect(await failureOf(change)).toEqual({
      code: "ESTALE",
      message: expect.stringContaining(`${dir.path} cannot be opened`),
    });
  }
});

test("a kernel or an initrd whose name another one has taken since it was looked at", async () => {
  const path = await kernelPath();
  const { dev, ino } = statSync(path, { bigint: true });
  for (const what of ["kernel", "initrd"]) {
    expect(await failureOf({ [what]: path, [`${what}Identity`]: [dev, ino + 1n] })).toEqual({
      code: "ESTALE",
      message: expect.stringContaining(
        `the ${what} ${path} cannot be read (ESTALE): another one has its name by now`,
      ),
    });
  }
});

test("a kernel or an initrd that is a FIFO is not waited for, whoever is told of it", async () => {
  using dir = scratch();
  const fifo = join(dir.path, "fifo");
  Bun.spawnSync(["mkfifo", fifo]);
  const { dev, ino } = statSync(fifo, { bigint: true });
  for (const what of ["kernel", "initrd"]) {
    for (const known of [{}, { [`${what}Identity`]: [dev, ino] }]) {
      expect(await failureOf({ [what]: fifo, ...known })).toEqual({
        code: "EINVAL",
        message: expect.stringContaining(`the ${what} ${fifo} cannot be read (it is not a regular file)`),
      });
    }
  }
});

test("an engine that is none", async () => {
  expect(await failureOf({ engine: "xen" })).toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringMatching(/xen.*kvm, qemu/),
  });
});

test.each([
  ["version", { version: 2 }, /different builds/],
  ["an unknown key", { memry: 1 }, /"memry"/],
  ["a missing key", { kernel: undefined }, /kernel is missing/],
  ["a wrong type", { cpus: "two" }, /cpus must be an unsigned integer/],
  ["out of range", { cpus: 256 }, /cpus is 256; allowed are 1 to 255/],
  // what the specification says, too
  [
    "less memory than a sandbox can have",
    { memory: (MEMORY.least << 20) - 4096 },
    new RegExp(`allowed are ${MEMORY.least << 20} to ${MEMORY.most * 2 ** 20}$`),
  ],
  ["odd memory", { memory: (64 << 20) + 1 }, /multiple of 4096/],
  ["a relative path", { kernel: "vmlinux" }, /absolute/],
  [
    "a share map that overflows",
    { fs: [{ tag: "t", roots: [{ name: "0", path: "/", readOnly: true, uidMap: [[0, 0, 0]] }] }] },
    /uidMap\[0\]/,
  ],
  [
    "half an identity",
    { fs: [{ tag: "t", roots: [{ name: "0", path: "/", readOnly: true, identity: [1] }] }] },
    /identity must be \[dev, ino\]/,
  ],
  ["half a kernel's identity", { kernelIdentity: [1] }, /kernelIdentity must be \[dev, ino\]/],
  ["a wrong word", { confine: "maybe" }, /none, auto, require/],
  [
    "a share's name",
    { fs: [{ tag: "t", roots: [{ name: "../x", path: "/", readOnly: true }] }] },
    /roots\[0\]\.name/,
  ],
  [
    "a protected path",
    { fs: [{ tag: "t", roots: [{ name: "0", path: "/", readOnly: false, protect: ["a/b", "../c"] }] }] },
    /roots\[0\]\.protect\[1\] must be a path below the root/,
  ],
  ["a tag", { fs: [{ tag: "a,b", roots: [] }] }, /fs\[0\]\.tag/],
  ["two consoles", { serial: true }, /console and serial/],
  ["events without vsock", { vsock: undefined }, /eventsPort needs vsock/],
  ["the time where events go", { clockPort: 53 }, /clockPort needs vsock, and a port of its own/],
])("a configuration with %s", async (_, change, words) => {
  const machine = await Machine.start(change as never);
  const { code, message } = await machine.event("failed");
  expect(code).toBe("CONFIG_INVALID");
  expect(message).toMatch(words);
  await machine.event("exited");
  // what it names is not trusted, so the caller's directory is left to the caller
  rmSync(machine.runtimeDir, { recursive: true });
  await machine.gone();
});

test("a runtime directory that others may enter is not used, nor removed", async () => {
  const { runtimeDir, config } = await makeConfig();
  chmodSync(runtimeDir, 0o755);
  const { pid, control } = startVmm(join(import.meta.dir, "../../../build/capsa-vmm"), config);
  const machine = new Machine(pid, runtimeDir);
  await machine.connect({ fd: control });
  expect(await machine.event("failed")).toMatchObject({
    code: "EPERM",
    message: expect.stringMatching(/0700/),
  });
  await machine.event("exited");
  rmSync(runtimeDir, { recursive: true });
  await machine.gone();
});

test("no VMM", async () => {
  const { runtimeDir, config } = await makeConfig();
  expect(() => startVmm("/nowhere/capsa-vmm", config)).toThrow("ENOENT");
  rmSync(runtimeDir, { recursive: true });
});
