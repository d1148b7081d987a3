/** Starting a sandbox and waiting until it is ready to be used. */

import { checkObject } from "../errors/check.ts";
import type { SandboxOptions } from "../spec/options.ts";
import { optionsToSpec } from "../spec/sandbox.ts";
import type { SandboxSpec } from "../spec/spec.ts";
import type { RunningSandbox, StartOptions } from "./api.ts";
import { madeUpName } from "./name.ts";
import { endOf } from "./ready.ts";
import { startSandbox } from "./start.ts";

/** As `Capsa.open`. */
export async function open(options: SandboxOptions, start: StartOptions): Promise<RunningSandbox> {
  checkObject("what a sandbox is to be", options);
  return startReady(optionsToSpec(options, madeUpName("sandbox")), start);
}

/** Nothing stays behind when it is aborted, or never gets ready. */
export async function startReady(spec: SandboxSpec, options: StartOptions): Promise<RunningSandbox> {
  return untilReady(await startSandbox(spec, options), spec, options.signal);
}

/** The same of one that was started just now. */
export async function untilReady<Started extends RunningSandbox>(
  vm: Started,
  spec: SandboxSpec,
  signal: AbortSignal | undefined,
): Promise<Started> {
  const abort = () => void vm.kill();
  signal?.addEventListener("abort", abort, { once: true });
  try {
    if (signal?.aborted) abort();
    await vm.ready;
    if (spec.run !== undefined) await mainStarted(vm);
    return vm;
  } catch (error) {
    await vm.kill();
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** Its agent may listen a moment before its main process turns out to be none. */
async function mainStarted(vm: RunningSandbox): Promise<void> {
  for await (const { type } of vm.events()) if (type === "main-started") return;
  throw endOf(vm, await vm.exited);
}
