/** The way of a sandbox from its start to a listening agent: one promise, kept or broken once. */

import { BootError } from "../errors/errors.ts";
import type { BootTimings } from "./api.ts";
import type { BootMoments } from "./guest_events.ts";

const HINTS: Readonly<Record<string, string>> = {
  BOOT_TIMEOUT: "on a slow host, raise the boot timeout; the console shows how far the boot came",
  ENOMEM: "give the sandbox more memory",
};

export class Boot {
  readonly ready: Promise<BootTimings>;
  timings: BootTimings | undefined;
  readonly #settle: { resolve: (timings: BootTimings) => void; reject: (error: BootError) => void };
  readonly #began: number;
  readonly #console: () => string;
  #startedMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `began`: performance.now() when the start was asked for. `console`: what the console last said. */
  constructor(began: number, console: () => string) {
    const { promise, ...settle } = Promise.withResolvers<BootTimings>();
    this.ready = promise;
    this.ready.catch(() => {}); // whoever waits for it is told; nobody has to
    this.#settle = settle;
    this.#began = began;
    this.#console = console;
  }

  /** `expired` is called when the sandbox is not ready `limitMs` after it began. */
  limit(limitMs: number, expired: () => void): void {
    const left = Math.max(0, limitMs - (performance.now() - this.#began));
    this.#timer = setTimeout(() => {
      this.fail("BOOT_TIMEOUT", `the sandbox was not ready after ${limitMs} ms`);
      expired();
    }, left);
  }

  /** The vCPUs run. */
  started(): void {
    this.#startedMs = performance.now() - this.#began;
  }

  succeed(moments: BootMoments): void {
    clearTimeout(this.#timer);
    const ms = (from: number, to: number) => Math.max(0, (to - from) / 1e6); // the guest's word: it may go backwards
    this.timings ??= {
      spawnMs: this.#startedMs,
      kernelMs: ms(0, moments.kernel),
      initMs: ms(moments.kernel, moments.init),
      mountsMs: ms(moments.init, moments.mounts),
      agentMs: ms(moments.mounts, moments.agent),
      totalMs: performance.now() - this.#began,
    };
    this.#settle.resolve(this.timings);
  }

  /** Nothing after `succeed`, or after an earlier failure: the first cause is the one to tell. */
  fail(code: string, message: string): void {
    clearTimeout(this.#timer);
    this.#settle.reject(new BootError(code, message, { consoleTail: this.#console(), hint: HINTS[code] }));
  }
}
