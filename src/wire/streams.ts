/** Bytes on their way: what a caller gives in pieces, what the guest sends as a web stream, in lines, or gathered. */

import { ArgumentError, CapsaError } from "../errors/errors.ts";
import { shown } from "../errors/printable.ts";

/** Something to feed to a program or a file. */
export type Input =
  | string
  | Uint8Array
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<string | Uint8Array>;

/** A web stream of bytes that also comes in lines. */
export interface OutputStream extends ReadableStream<Uint8Array> {
  /**
   * Its lines as UTF-8 text, without their ends (`\n` or `\r\n`); one of more than 1 MiB comes in pieces. Leaving the
   * loop cancels the stream.
   * @example for await (const line of child.stdout.lines()) console.log(line);
   */
  lines(): AsyncGenerator<string, void, void>;
}

/** Largest payload of one data frame: it wakes each side once, and a frame's limit is four times that. */
export const PIECE = 262_144;

/** The bytes of `input` in pieces of at most {@link PIECE}. Throws `ArgumentError` on what is not an input, or fails. */
export async function* pieces(input: Input): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of chunks(input)) {
      const data = typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk;
      if (!(data instanceof Uint8Array)) {
        throw new ArgumentError(
          `an input stream gave ${typeof chunk}; it should give strings or Uint8Arrays`,
        );
      }
      for (let at = 0; at < data.length; at += PIECE) yield data.subarray(at, at + PIECE);
    }
  } catch (cause) {
    if (cause instanceof CapsaError) throw cause;
    throw new ArgumentError(`an input failed: ${cause instanceof Error ? cause.message : shown(cause)}`, {
      cause,
    });
  }
}

function chunks(input: Input): Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array> {
  if (typeof input === "string" || input instanceof Uint8Array) return [input];
  if (input instanceof Blob) return input.stream();
  if (typeof input === "object" && input !== null && Symbol.asyncIterator in input) return input;
  throw new ArgumentError("an input should be a string, Uint8Array, Blob, ReadableStream or AsyncIterable");
}

/** One direction of a call's bytes as a web stream: what the reader has taken is what the guest may send again. */
export class Outlet {
  readonly stream: OutputStream;
  /** Somebody has begun to read it, or has said that nobody will. */
  isRead = false;
  /** Bytes that {@link trim} has dropped. */
  dropped = 0;
  readonly #taken: (bytes: number) => void;
  #queued = 0;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #queue: Uint8Array[] = [];
  /** Set while the reader waits for what is not here yet. */
  #wake: (() => void) | undefined;
  #state: "open" | "ended" | "discarding" = "open";

  /**
   * `taken` is told of every byte that left the queue; `cancelled`, when the reader wants no more; `begun`, when there is
   * a reader, or there will be none.
   */
  constructor(
    taken: (bytes: number) => void,
    cancelled: () => void = () => {},
    begun: () => void = () => {},
  ) {
    const begin = () => {
      if (this.isRead) return;
      this.isRead = true;
      begun();
    };
    this.#taken = taken;
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => {
          begin();
          return this.#pull();
        },
        cancel: () => {
          begin();
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
    this.#queued += chunk.length;
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
    this.#drop(0);
  }

  /** Keep about the last `most` bytes of what is queued. */
  trim(most: number): void {
    this.dropped += this.#drop(most);
  }

  #drop(most: number): number {
    const before = this.#queued;
    while (this.#queued > most) this.#queued -= this.#queue.shift()!.length;
    if (before > this.#queued) this.#taken(before - this.#queued);
    return before - this.#queued;
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
    this.#queued -= chunk.length;
    this.#controller.enqueue(chunk);
    this.#taken(chunk.length);
  }
}

/** A view that is a small part of what it keeps alive is copied out of it. */
export function own(chunk: Uint8Array): Uint8Array {
  return chunk.length * 2 < chunk.buffer.byteLength ? chunk.slice() : chunk;
}

/** Longest line, UTF-16 units: a guest that never ends one would fill the host's memory. */
const MAX_LINE = 1 << 20;

/** The lines of UTF-8 text without their ends; the last may lack one. Longer ones come in pieces. */
export async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = decoder.decode(chunk, { stream: true }).split("\n");
    parts[0] = rest + parts[0]; // not split anew with each piece that it comes in
    rest = parts.pop()!;
    for (const line of parts) yield line.endsWith("\r") ? line.slice(0, -1) : line;
    for (; rest.length > MAX_LINE; rest = rest.slice(MAX_LINE)) yield rest.slice(0, MAX_LINE);
  }
  rest += decoder.decode();
  if (rest !== "") yield rest;
}

const FIRST_BLOCK = 4096;
const LARGEST_BLOCK = 1 << 20;

/** Bytes gathered: the first of them, up to `most`, and as many as `last` of those that came after. */
export class Collector {
  /** Bytes that came so far. */
  length = 0;
  readonly #most: number;
  readonly #last: number;
  #blocks: Uint8Array[] = [];
  #block = new Uint8Array(0);
  #fill = 0;
  #tail: Uint8Array = new Uint8Array(0);

  constructor(most: number = Number.POSITIVE_INFINITY, last = 0) {
    this.#most = most;
    this.#last = last;
  }

  /** Its bytes are copied: the frames that they came in are not kept alive. */
  add(chunk: Uint8Array): void {
    const room = Math.max(0, this.#most - this.length);
    this.length += chunk.length;
    let rest = chunk.subarray(0, room);
    while (rest.length > 0) {
      if (this.#fill === this.#block.length) this.#grow();
      const part = rest.subarray(0, this.#block.length - this.#fill);
      this.#block.set(part, this.#fill);
      this.#fill += part.length;
      rest = rest.subarray(part.length);
    }
    if (chunk.length > room && this.#last > 0)
      this.#tail = Buffer.concat([this.#tail, chunk.subarray(room).subarray(-this.#last)]).subarray(
        -this.#last,
      );
  }

  /** Those that came first. */
  first(): Uint8Array {
    return joined([...this.#blocks, this.#block.subarray(0, this.#fill)]);
  }

  /** Those that came last, without those that are among the first. */
  last(): Uint8Array {
    return this.#tail;
  }

  /** All of them, one behind the other. */
  bytes(): Uint8Array {
    return this.#tail.length === 0 ? this.first() : joined([this.first(), this.#tail]);
  }

  #grow(): void {
    if (this.#fill > 0) this.#blocks.push(this.#block);
    this.#block = new Uint8Array(Math.min(LARGEST_BLOCK, Math.max(FIRST_BLOCK, 2 * this.#block.length)));
    this.#fill = 0;
  }
}

/** An array of its own, unlike a `Buffer`, which is a part of a larger one. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Kept while nobody has read yet, and how far a reader may fall behind, bytes. */
const UNREAD_LIMIT = 1 << 20;
const READER_LIMIT = 64 << 20;

/** Output that may have no reader: a stream that keeps the latest bytes, and counts those it had to drop. */
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
