/** What a program prints, line by line, for those who wait for one. */

import { checkSignal, checkTime } from "../../errors/check.ts";
import { AgentError, ArgumentError } from "../../errors/errors.ts";
import { shown } from "../../errors/printable.ts";
import type { OutputStream, WaitForOptions } from "../api.ts";

const PATIENCE_MS = 30_000;
/** Kept for errors. */
const LAST_LINES = 20;
/** Of each. */
const LINE_LENGTH = 500;

interface Waiter {
  readonly pattern: RegExp;
  readonly found: (match: RegExpExecArray) => void;
  readonly fail: (error: unknown) => void;
}

export class Lines {
  readonly #waiters = new Set<Waiter>();
  readonly #last: string[] = [];
  #over: unknown;
  #isOver = false;

  /** Takes all that comes out of the streams from now on, but of those that somebody reads already. */
  constructor(streams: readonly OutputStream[]) {
    const taken = streams.filter((stream) => !stream.locked).map((stream) => this.#take(stream));
    Promise.all(taken).then(
      () => this.#end(undefined),
      (error) => this.#end(error),
    );
  }

  async #take(stream: OutputStream): Promise<void> {
    for await (const line of stream.lines()) {
      this.#last.push(line.slice(0, LINE_LENGTH));
      if (this.#last.length > LAST_LINES) this.#last.shift();
      for (const waiter of this.#waiters) {
        waiter.pattern.lastIndex = 0;
        const match = waiter.pattern.exec(line);
        if (match !== null) waiter.found(match);
      }
    }
  }

  #end(error: unknown): void {
    this.#isOver = true;
    this.#over = error;
    for (const { fail } of this.#waiters) fail(this.#ended());
  }

  #ended(): unknown {
    return this.#over ?? this.#error("PROCESS_ENDED", "the program ended before");
  }

  #error(code: string, why: string): AgentError {
    const last = this.#last.map((line) => `  ${line}`).join("\n");
    const message = `waitFor: ${why} it printed such a line${last === "" ? "; it printed nothing" : `; its last lines:\n${last}`}`;
    return new AgentError(code, message, { op: "waitFor" });
  }

  async waitFor(given: RegExp | string, options: WaitForOptions): Promise<RegExpExecArray> {
    const { timeoutMs = PATIENCE_MS, signal } = options;
    checkTime("timeoutMs", timeoutMs);
    checkSignal(signal);
    if (typeof given !== "string" && !(given instanceof RegExp))
      throw new ArgumentError(`waitFor takes a RegExp or a text, not ${shown(given)}`);
    const pattern = typeof given === "string" ? new RegExp(RegExp.escape(given)) : new RegExp(given);
    signal?.throwIfAborted();
    if (this.#isOver) throw this.#ended();
    const { promise, resolve: found, reject: fail } = Promise.withResolvers<RegExpExecArray>();
    const waiter = { pattern, found, fail };
    const abort = () => fail(signal?.reason);
    const timer = setTimeout(
      () => fail(this.#error("ETIMEDOUT", `${timeoutMs} ms were over before`)),
      timeoutMs,
    );
    signal?.addEventListener("abort", abort, { once: true });
    this.#waiters.add(waiter);
    return promise.finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#waiters.delete(waiter);
    });
  }
}
