/** What happens to a sandbox, told in order to whoever wants to know. */

import type { SandboxEvent } from "./api.ts";

/** Events that are kept; a reader that is further behind is told how many it has missed. */
const KEPT = 1024;

/** An event as it is made: when is added here, and what is missing at each reader. */
type Happening = Without<Exclude<SandboxEvent, { readonly type: "dropped" }>, "at">;
/** `Omit` of each of a union. */
type Without<Union, Key extends PropertyKey> = Union extends unknown ? Omit<Union, Key> : never;

/** One store for all readers: each has a place in it, and no queue of its own. */
export class Events {
  readonly #limit: number;
  readonly #kept: SandboxEvent[] = [];
  /** Number of the first that is kept. */
  #first = 0;
  #ended = false;
  #next = Promise.withResolvers<void>();

  constructor(limit = KEPT) {
    this.#limit = limit;
  }

  add(happening: Happening): void {
    this.#kept.push({ ...happening, at: new Date() } as SandboxEvent);
    if (this.#kept.length > this.#limit) {
      this.#kept.shift();
      this.#first++;
    }
    this.#wake();
  }

  /** Nothing more happens. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  #wake(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }

  /** What is kept, then what comes, to the end. Throws the signal's reason. */
  async *read(signal?: AbortSignal): AsyncGenerator<SandboxEvent, void, void> {
    for (let place = 0; ; ) {
      signal?.throwIfAborted();
      if (place < this.#first) {
        const count = this.#first - place;
        place = this.#first;
        yield { type: "dropped", count, at: new Date() };
      } else if (place < this.#first + this.#kept.length) {
        yield this.#kept[place++ - this.#first]!;
      } else if (this.#ended) {
        return;
      } else {
        await orAborted(this.#next.promise, signal);
      }
    }
  }
}

/** Resolves in either case. */
async function orAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise;
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const abort = () => resolve();
  signal.addEventListener("abort", abort, { once: true });
  await Promise.race([promise, aborted]);
  signal.removeEventListener("abort", abort);
}
