/** The span of a start, from the wish for a sandbox to its agent, with where the time went as its children. */

import { type Recording, record } from "../host/telemetry.ts";
import type { SandboxSpec } from "../spec/spec.ts";
import type { BootTimings, RunningSandbox } from "./api.ts";

/** Begin it; undefined where nobody records. */
export function recordBoot({ name, cpus, memoryMb, rootfs }: SandboxSpec): BootSpan | undefined {
  const from = performance.timeOrigin + performance.now();
  const attributes = () => ({
    "capsa.sandbox.name": name,
    "capsa.sandbox.cpus": cpus,
    "capsa.sandbox.memory_mb": memoryMb,
    "capsa.sandbox.rootfs": rootfs.kind,
  });
  const recording = record("boot", attributes, { from });
  return recording === undefined ? undefined : new BootSpan(recording, from);
}

class BootSpan {
  readonly #recording: Recording;
  readonly #from: number;

  constructor(recording: Recording, from: number) {
    this.#recording = recording;
    this.#from = from;
  }

  /** It ends once the sandbox is ready, or cannot be. */
  follow(starting: Promise<RunningSandbox>): void {
    const fail = (error: unknown) => this.#recording.fail(error);
    starting.then((vm) => {
      this.#recording.set({ "capsa.sandbox.id": vm.id, "capsa.engine": vm.engine });
      vm.ready.then((timings) => {
        this.#parts(timings);
        this.#recording.end();
      }, fail);
    }, fail);
  }

  /** The guest's clock begins where its processors do. */
  #parts({ spawnMs, kernelMs, initMs, mountsMs, agentMs }: BootTimings): void {
    let from = this.#from;
    for (const [name, ms] of Object.entries({ spawnMs, kernelMs, initMs, mountsMs, agentMs })) {
      this.#recording.part(`boot ${name.slice(0, -2)}`, from, from + ms);
      from += ms;
    }
  }
}
