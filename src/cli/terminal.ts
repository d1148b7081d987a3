/**
 * Standard output and error as the verbs use them, and the one way there: back-pressure honoured, colours only where a person
 * sees them, and a reader that has gone, or a full disk, ends the command. Not by `process.stdout`: Node's streams take longer
 * to load than all the rest of a short command.
 */
import type { Colors } from "picocolors/types";
import { isTerminal } from "../engine/libc.ts";
import { CapsaError } from "../errors.ts";
import { errorCode } from "../host/errors.ts";
import { printable, printableJson } from "../printable.ts";
import { Interrupted } from "./interrupt.ts";

type Chunk = string | Uint8Array;
type Lost = Interrupted | CapsaError;

interface Which {
  readonly fd: number;
  readonly name: string;
  /** Of the error. */
  readonly code: string;
}

export class Terminal {
  readonly #out: Stream;
  readonly #error: Stream;
  #lost: Lost | undefined;

  /** `onLost` is told why something cannot be shown: its reader has gone, the disk is full … */
  constructor(onLost: (reason: Lost) => void) {
    const lose = (reason: Lost) => {
      this.#lost ??= reason;
      onLost(reason);
    };
    this.#out = new Stream({ fd: 1, name: "stdout", code: "STDOUT" }, lose);
    this.#error = new Stream({ fd: 2, name: "stderr", code: "STDERR" }, lose);
  }

  /** A person looks at stderr: progress may be drawn there. */
  get interactive(): boolean {
    return process.env.TERM !== "dumb" && isTerminal(2);
  }

  /** For text written to stdout (https://no-color.org). */
  async colors(): Promise<Colors> {
    const { default: pico } = await import("picocolors");
    return pico.createColors(!process.env.NO_COLOR && process.env.TERM !== "dumb" && isTerminal(1));
  }

  /** Write to stdout, to the byte; resolves when it was taken, and rejects with what ends the command instead. */
  write(chunk: Chunk): Promise<void> {
    return this.#out.write(chunk);
  }

  /** Write a line of capsa's own to stdout: what a guest has chosen of it is escaped, and so are colours. */
  print(line: string): Promise<void> {
    return this.write(`${printable(line)}\n`);
  }

  /** One JSON document on stdout. */
  json(value: unknown): Promise<void> {
    return this.write(`${printableJson(value, 2)}\n`);
  }

  /** One line of JSON Lines on stdout. */
  jsonLine(value: unknown): Promise<void> {
    return this.write(`${printableJson(value)}\n`);
  }

  /** As {@link write}, to stderr. `dispensable`: a full disk is no reason to fail. */
  writeError(chunk: Chunk, options?: { dispensable?: true }): Promise<void> {
    return this.#error.write(chunk, options);
  }

  /** As {@link print}, to stderr. On a full disk it is lost: what capsa does is worth more than what it says of it. */
  say(line: string): Promise<void> {
    return this.writeError(`${printable(line)}\n`, { dispensable: true });
  }

  /** Resolves when all that was written has been taken, or cannot be: with the reason, then. */
  async drain(): Promise<Lost | undefined> {
    await Promise.all([this.#out.drain(), this.#error.drain()]);
    return this.#lost;
  }
}

/** One of the two. What has been lost once takes nothing any more. */
class Stream {
  readonly #which: Which;
  readonly #onLost: (reason: Lost) => void;
  #sink: Bun.FileSink | undefined;
  #lost: Lost | undefined;

  constructor(which: Which, onLost: (reason: Lost) => void) {
    this.#which = which;
    this.#onLost = onLost;
  }

  /** Nobody has to wait for it: the command ends by `onLost` as well. `dispensable`: only the reader's leaving is told. */
  write(chunk: Chunk, options: { dispensable?: true } = {}): Promise<void> {
    const written = this.#put(chunk, options);
    written.catch(() => {});
    return written;
  }

  async #put(chunk: Chunk, { dispensable }: { dispensable?: true }): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    try {
      this.#sink ??= Bun.file(this.#which.fd).writer();
      await this.#sink.write(chunk);
      await this.#sink.flush();
    } catch (error) {
      const gone = errorCode(error) === "EPIPE";
      if (dispensable && !gone) return;
      this.#lost ??= gone ? new Interrupted("SIGPIPE") : unwritable(this.#which, error as Error);
      this.#onLost(this.#lost);
      throw this.#lost;
    }
  }

  async drain(): Promise<void> {
    try {
      await this.#sink?.flush();
    } catch {} // of what a failed write has left, which was told
  }
}

function unwritable({ name, code }: Which, { message }: Error): CapsaError {
  return new CapsaError(code, `${name} cannot be written to: ${message}`);
}
