/** What ends a command early: signals, and a reader of our output that has gone. */
import { shellStatus } from "../host/signals.ts";

/** The reason with which everything under way is aborted; `exitCode` is what a shell expects of it. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly signal: NodeJS.Signals;
  readonly exitCode: number;

  constructor(signal: NodeJS.Signals) {
    super(`ended by ${signal}`);
    this.signal = signal;
    this.exitCode = shellStatus({ exitCode: null, signal });
  }
}

export interface Interrupts {
  readonly signal: AbortSignal;
  /** End everything under way for that reason, unless another was first. */
  end(reason: Error): void;
}

/**
 * A signal that aborts at the first SIGINT, SIGTERM or SIGHUP, or when output is lost. A second SIGINT ends the process at
 * once: what it started ends with it.
 */
export function watchInterrupts(): Interrupts {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted && name === "SIGINT") process.exit(new Interrupted(name).exitCode);
      controller.abort(new Interrupted(name));
    });
  }
  return { signal: controller.signal, end: (reason) => controller.abort(reason) };
}
