/** What a raw VM can be, and what it is told to the VMM as. */

import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Capsa, type VmOptions } from "../../../src/index.ts";
import { specOf } from "../../../src/vm/options.ts";
import { vmConfig } from "../../../src/vm/plan.ts";
import { validateVm } from "../../../src/vm/validate.ts";
import { decodeCbor, encodeCbor } from "../../../src/wire/framing.ts";

const top = mkdtempSync(join(tmpdir(), "capsa-vm-"));
const kernel = join(top, "vmlinuz");
const disk = join(top, "disk.img");
const odd = join(top, "odd.img");
const fifo = join(top, "fifo");
writeFileSync(kernel, "kernel");
Bun.spawnSync(["mkfifo", fifo]);
writeFileSync(disk, Buffer.alloc(1024));
writeFileSync(odd, Buffer.alloc(1025));
afterAll(() => rmSync(top, { recursive: true }));

const check = (change: Partial<Record<keyof VmOptions, unknown>>) => () =>
  validateVm(specOf({ kernel, ...change } as VmOptions));

test("the defaults", () => {
  const { name, ...spec } = specOf({ kernel });
  expect(name).toMatch(/^vm-[0-9a-f]{8}$/);
  expect(spec).toEqual({
    kernel,
    cmdline: "console=ttyS0 panic=-1",
    acpi: true,
    cpus: 1,
    memoryMb: 512,
    disks: [],
    vsock: true,
    engine: "auto",
    confine: "auto",
  });
});

test("the VMM is told of devices only: no agent's port, no events, no shares", () => {
  const spec = specOf({ kernel, initrd: kernel, name: "box", disks: [{ path: disk, readOnly: true }] });
  const identities = new Map([
    [kernel, [1n, 5n] as const],
    [disk, [1n, 2n ** 63n] as const],
  ]);
  const config = vmConfig(spec, { engine: "qemu", program: "/q" }, "/run/box", identities);
  expect(decodeCbor(encodeCbor(config))).toEqual({
    version: 1,
    name: "box",
    engine: "qemu",
    kernel,
    kernelIdentity: [1n, 5n],
    initrd: kernel,
    initrdIdentity: [1n, 5n],
    cmdline: "console=ttyS0 panic=-1",
    acpi: true,
    cpus: 1,
    memory: 512 << 20,
    runtimeDir: "/run/box",
    detached: false,
    disks: [{ path: disk, readOnly: true, identity: [1n, 2n ** 63n] }],
    vsock: { cid: 3, ports: [] },
    rng: true,
    serial: true,
    qemu: { path: "/q" },
    confine: "auto",
  });
});

test("what can be passes", () => {
  expect(
    check({
      disks: [
        { path: disk, readOnly: true },
        { path: disk, readOnly: true },
      ],
      cpus: 255,
    }),
  ).not.toThrow();
});

test.each([
  [{ kernel: join(top, "none") }, "kernel", "is not there"],
  [{ initrd: top }, "initrd", "is a directory"],
  [{ initrd: "/dev/null" }, "initrd", "is not a regular file"],
  [{ kernel: fifo }, "kernel", "is not a regular file"],
  [{ cpus: 0 }, "cpus", "whole number from 1 to 255"],
  [{ memoryMb: 1.5 }, "memoryMb", "not 1.5"],
  [{ name: "Big" }, "name", "small letters"],
  [{ engine: "xen" }, "engine", '"kvm"'],
  [{ cmdline: "x".repeat(3000) }, "cmdline", "longer than"],
  [{ vsock: "yes" }, "vsock", "true or false"],
  [{ disks: [{ path: odd }] }, "disks[0].path", "1025 bytes: a disk is made of one or more sectors of 512"],
  [{ disks: [{ path: disk }, { path: "/dev/null" }] }, "disks[1].path", "neither a file nor a block device"],
  [{ disks: Array(9).fill({ path: disk, readOnly: true }) }, "disks", "more than 8"],
])("what cannot be is refused: case %#", (change, field, words) => {
  expect(check(change)).toThrow(expect.objectContaining({ field, message: expect.stringContaining(words) }));
});

test("firmware is told to be not supported, and other words to be none", () => {
  expect(() => Capsa.vm({ kernel, firmware: "OVMF.fd" } as VmOptions)).toThrow(
    expect.objectContaining({ code: "NOT_SUPPORTED", field: "firmware" }),
  );
  expect(() => Capsa.vm({ kernel, memory: 5 } as unknown as VmOptions)).toThrow(/memory: unknown key/);
  expect(() => Capsa.vm({} as VmOptions)).toThrow(/kernel: is missing/);
});

test("before its start it can be asked how it is, and nothing else", async () => {
  await using vm = Capsa.vm({ kernel, name: "still" });
  expect(await vm.status()).toMatchObject({ state: "created", name: "still", uptimeMs: 0 });
  const calls = [() => vm.wait(), () => vm.stop(), () => vm.kill(), () => vm.pause()];
  for (const call of [...calls, () => vm.vsockListen(5, () => {})]) {
    await expect(call()).rejects.toMatchObject({ code: "NOT_STARTED" });
  }
  await expect(vm.console.write("x")).rejects.toMatchObject({ code: "NOT_STARTED" });
});
