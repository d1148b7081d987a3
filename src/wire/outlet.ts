/** One direction of a call's bytes as a web stream: what the reader has taken is what the guest may send again. */

import type { OutputStream } from "../agent/api.ts";
import { lines } from "./lines.ts";

export class Outlet {
  readonly stream: OutputStream;
  readonly #taken: (bytes: number) => void;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #queue: Uint8Array[] = [];
  /** Set while the reader waits for what is not here yet. */
  #wake: (() => void) | undefined;
  #state: "open" | "ended" | "discarding" = "open";

  /** `taken` is told of every byte that left the queue; `cancelled`, when the reader wants no more. */
  constructor(taken: (bytes: number) => void, cancelled: () => void = () => {}) {
    this.#taken = taken;
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#pull(),
        cancel: () => {
          this.discard();
          cancelled();
        },
      },
      { highWaterMark: 0 },
    );
    this.stream = Object.assign(stream, { lines: () => lines(stream) });
  }

  push(chunk: Uint8Array): void {
    if (this.#state !== "open") {
      this.#taken(chunk.length);
      return;
    }
    if (chunk.length === 0) return;
    this.#queue.push(own(chunk));
    this.#wake?.();
  }

  /** The stream closes once what is queued has been read. */
  end(): void {
    if (this.#state !== "open") return;
    this.#state = "ended";
    this.#wake?.();
  }

  /** The stream breaks at once, unless it has had its end. */
  fail(error: unknown): void {
    if (this.#state !== "open") return;
    this.discard();
    this.#controller.error(error);
    this.#wake?.();
  }

  /** What is queued, and all that comes, is dropped. */
  discard(): void {
    this.#state = "discarding";
    const dropped = this.#queue.reduce((sum, chunk) => sum + chunk.length, 0);
    this.#queue = [];
    if (dropped > 0) this.#taken(dropped);
  }

  async #pull(): Promise<void> {
    while (this.#queue.length === 0 && this.#state === "open") {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    if (this.#state === "discarding") return;
    const chunk = this.#queue.shift();
    if (chunk === undefined) {
      this.#controller.close();
      return;
    }
    this.#controller.enqueue(chunk);
    this.#taken(chunk.length);
  }
}

/** A view that is a small part of what it keeps alive is copied out of it. */
export function own(chunk: Uint8Array): Uint8Array {
  return chunk.length * 2 < chunk.buffer.byteLength ? chunk.slice() : chunk;
}
