/** Guests without an operating system (tests/lab/bare): building them, and running one on a VMM of choice. */

import { dlopen, ptr } from "bun:ffi";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startVmm } from "../../src/engine/library.ts";
import { libraryDirectory } from "../../src/host/installation.ts";
import { readEvent, type VmmEvent } from "../../src/machine/events.ts";
import { Control } from "../../src/wire/control.ts";
import { encodeCbor } from "../../src/wire/framing.ts";

const directory = join(import.meta.dir, "bare");
const FLAGS = [
  "-m32 -march=i486 -mgeneral-regs-only -std=gnu11 -O1 -Wall -Wextra -Werror -ffreestanding -nostdlib -static -no-pie",
  "-fno-pie -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables",
  `-Wl,--build-id=none -Wl,--no-warn-rwx-segments -Wl,-T,${join(directory, "bare.ld")}`,
].flatMap((line) => line.split(" "));

/** Run a tool to its end; its complaint is the error. */
export function tool(...argv: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(argv);
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: exit code ${exitCode}\n${stdout}${stderr}`);
  return stdout.toString();
}

/** Build bare/NAME.c into `to`: an ELF file of 64 bits, as loaders of kernels want it, with code of 32. */
export function buildGuest(name: string, to: string): string {
  const path = join(to, name);
  tool("gcc", ...FLAGS, join(directory, "bare.c"), join(directory, `${name}.c`), "-o", `${path}.32`);
  tool("objcopy", "-O", "elf64-x86-64", `${path}.32`, path);
  return path;
}

export interface Ran {
  /** All that the guest wrote to its console. */
  readonly console: string;
  readonly events: readonly VmmEvent[];
  /** As the last event says; undefined when the VMM ended without one. */
  readonly reason: string | undefined;
  /** What a "failed" event said. */
  readonly failure: { readonly code: string; readonly message: string } | undefined;
  /** Exit code of the VMM's processes. */
  readonly exitCode: number;
  /** Milliseconds from start to end. */
  readonly ms: number;
}

/** Run a machine to its end, or for `limitMs`, then stop it; `config` is `vmm-config` but for `runtimeDir`. */
export async function runMachine(
  program: string,
  config: Record<string, unknown>,
  limitMs: number,
): Promise<Ran> {
  const runtimeDir = mkdtempSync(join(tmpdir(), "capsa-bare-"));
  const began = performance.now();
  try {
    const started = startVmm(
      program,
      encodeCbor({
        version: 1,
        name: "bare",
        cpus: 1,
        memory: 64 << 20,
        cmdline: "",
        runtimeDir,
        detached: false,
        confine: "auto",
        ...config,
      }),
    );
    const events: VmmEvent[] = [];
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const control = await Control.open(
      { fd: started.control },
      { onEvent: (message) => events.push(readEvent(message)), onClose: resolve },
    );
    const limit = setTimeout(() => control.request("stop").catch(() => {}), limitMs);
    await closed;
    clearTimeout(limit);
    const exitCode = await collect(started.pid);
    const failed = events.find((event) => event.event === "failed");
    return {
      console: events.map((event) => (event.event === "console" ? text(event.data) : "")).join(""),
      events,
      reason: events.findLast((event) => event.event === "exited")?.reason,
      failure: failed === undefined ? undefined : { code: failed.code, message: failed.message },
      exitCode,
      ms: performance.now() - began,
    };
  } finally {
    rmSync(runtimeDir, { recursive: true, force: true });
  }
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

/** The exit code of a child of libcapsa's, 128 and the signal's number when one ended it. */
async function collect(pid: number): Promise<number> {
  const { symbols } = dlopen(join(libraryDirectory(), "libcapsa.so"), {
    capsa_reap: { args: ["i32", "ptr"], returns: "i32" },
  });
  const status = new Int32Array(1);
  for (let tries = 0; tries < 1000; tries++) {
    if (symbols.capsa_reap(pid, ptr(status)) !== 0) {
      return (status[0]! & 0x7f) === 0 ? status[0]! >> 8 : 128 + (status[0]! & 0x7f);
    }
    await Bun.sleep(10);
  }
  throw new Error(`the VMM ${pid} said good-bye 10 s ago and is still there`);
}
