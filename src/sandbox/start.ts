/** Starting a sandbox: the one way in, for the builder and for the command line. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeCbor } from "../agent/framing.ts";
import { chooseEngine } from "../engine/choose.ts";
import { initramfsPath, kernelPath, qemuPath, vmmPath } from "../engine/installation.ts";
import { startVmm } from "../engine/library.ts";
import { cpio } from "../image/cpio.ts";
import { prepareRootfs } from "../image/rootfs.ts";
import type { RunningSandbox, StartOptions } from "./api.ts";
import { guestPlan, vmmConfig } from "./plan.ts";
import { claim, type Place } from "./registry.ts";
import { SandboxHandle } from "./running.ts";
import type { SandboxSpec } from "./spec.ts";
import { validateSpec } from "./validate.ts";

/**
 * Boot what `spec` says; resolves once the vCPUs run (`vm.ready` tells when the agent listens). Throws `SpecError` for
 * what cannot be, `HostError` for what this machine lacks, `BootError` when the VMM cannot start it, and the signal's
 * reason. Nothing stays behind then.
 * @example
 * await using vm = await startSandbox(spec, { onNotice: ({ message }) => console.error(message) });
 */
export async function startSandbox(spec: SandboxSpec, options: StartOptions = {}): Promise<RunningSandbox> {
  const began = performance.now();
  const { signal, detached = false } = options;
  signal?.throwIfAborted();
  validateSpec(spec);
  const kernel = spec.kernel === undefined ? kernelPath() : Promise.resolve(spec.kernel);
  kernel.catch(() => {}); // it is looked for meanwhile, and awaited below
  const { engine, notice } = chooseEngine(spec.engine);
  if (notice !== undefined) options.onNotice?.({ code: "ENGINE_QEMU", message: notice });
  const program = vmmPath();
  const base = spec.initrd ?? initramfsPath();
  const qemu = engine === "qemu" ? qemuPath() : undefined;
  const kernelFile = await kernel;
  const place = await claim(spec, engine, detached);
  let handle: SandboxHandle;
  try {
    const rootfs = prepareRootfs(spec.rootfs, place.runtimeDir);
    const initrd = writeInitrd(place, base, guestPlan(spec, rootfs));
    const config = vmmConfig(spec, rootfs, {
      engine,
      kernel: kernelFile,
      initrd,
      runtimeDir: place.runtimeDir,
      detached,
      ...(qemu === undefined ? {} : { qemu }),
      ...(place.archive === undefined ? {} : { archive: place.archive }),
    });
    signal?.throwIfAborted();
    const { pid, control } = startVmm(program, encodeCbor(config));
    place.started(pid);
    const { id, runtimeDir } = place;
    const identity = { id, name: spec.name, engine, pid, runtimeDir, attached: false };
    handle = await SandboxHandle.adopt(identity, control, began);
  } catch (error) {
    place.release();
    throw error;
  }
  return watchStart(handle, spec, place, signal);
}

async function watchStart(
  handle: SandboxHandle,
  spec: SandboxSpec,
  place: Place,
  signal: AbortSignal | undefined,
): Promise<RunningSandbox> {
  const abort = () => void handle.kill();
  signal?.addEventListener("abort", abort, { once: true });
  handle.boot.limit(spec.bootTimeoutMs, abort);
  try {
    if (signal?.aborted) abort();
    await handle.started;
    return handle;
  } catch (error) {
    await handle.exited;
    place.release();
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** The base and, behind it, the guest's plan: the kernel unpacks one after the other. */
function writeInitrd(place: Place, base: string, plan: object): string {
  const path = join(place.runtimeDir, "initrd.cpio");
  const words = readFileSync(base);
  const padding = new Uint8Array((4 - (words.length % 4)) % 4);
  const addition = cpio([
    { path: "capsa", mode: 0o040755 },
    { path: "capsa/plan.cbor", mode: 0o100600, data: encodeCbor(plan) },
  ]);
  writeFileSync(path, Buffer.concat([words, padding, addition]), { mode: 0o600 });
  return path;
}
