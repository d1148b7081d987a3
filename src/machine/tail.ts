/** Output that may have no reader: a stream that keeps the latest bytes, and counts those it had to drop. */

import { own } from "../wire/streams.ts";

/** Kept while nobody has read yet, and how far a reader may fall behind, bytes. */
const UNREAD_LIMIT = 1 << 20;
const READER_LIMIT = 64 << 20;

export class Tail {
  readonly stream: ReadableStream<Uint8Array>;
  /** Bytes that nobody read in time. */
  dropped = 0;
  #queue: Uint8Array[] = [];
  #size = 0;
  #limit = UNREAD_LIMIT;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor() {
    this.stream = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => this.#pull(controller),
        cancel: () => {
          this.#limit = 0;
          this.#trim();
        },
      },
      { highWaterMark: 0 },
    );
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0 || this.#ended) return;
    this.#queue.push(own(chunk));
    this.#size += chunk.length;
    this.#trim();
    this.#wake?.();
  }

  /** No more comes; what is kept can still be read. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  #trim(): void {
    while (this.#size > this.#limit) {
      const excess = this.#size - this.#limit;
      const oldest = this.#queue[0]!;
      const lost = Math.min(excess, oldest.length);
      if (lost === oldest.length) this.#queue.shift();
      else this.#queue[0] = oldest.subarray(lost);
      this.#size -= lost;
      this.dropped += lost;
    }
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    this.#limit = READER_LIMIT;
    while (this.#queue.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const chunk = this.#queue.shift();
    if (chunk === undefined) {
      controller.close();
      return;
    }
    this.#size -= chunk.length;
    controller.enqueue(chunk);
  }
}
