/**
 * Standard output and error as the verbs use them, and the one way there: back-pressure honoured, colours only where a person
 * sees them, and a reader that has gone, or a full disk, ends the command. Not by `process.stdout`: Node's streams take longer
 * to load than all the rest of a short command.
 */
import type { Colors } from "picocolors/types";
import { CapsaError } from "../errors/errors.ts";
import { printable, printableJson } from "../errors/printable.ts";
import { errorCode } from "../host/file_errors.ts";
import { isTerminal } from "../host/libc.ts";
import { Interrupted, type Interrupts } from "./failure.ts";

/** How long a reader may take for one piece once this command is to end. */
const PATIENCE_MS = 1000;

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

  /** What cannot be shown, as its reader has gone or the disk is full, ends all that is under way. */
  constructor({ signal, end }: Interrupts) {
    const lose = (reason: Lost) => {
      this.#lost ??= reason;
      end(reason);
    };
    this.#out = new Stream({ fd: 1, name: "stdout", code: "STDOUT" }, signal, lose);
    this.#error = new Stream({ fd: 2, name: "stderr", code: "STDERR" }, signal, lose);
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
  readonly #signal: AbortSignal;
  readonly #onLost: (reason: Lost) => void;
  #sink: Bun.FileSink | undefined;
  #lost: Error | undefined;

  constructor(which: Which, signal: AbortSignal, onLost: (reason: Lost) => void) {
    this.#which = which;
    this.#signal = signal;
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
      const sink = this.#sink;
      await this.#unlessStalled(async () => {
        await sink.write(chunk);
        await sink.flush();
      });
    } catch (error) {
      if (error === this.#signal.reason) this.#lost ??= error as Error;
      const gone = errorCode(error) === "EPIPE";
      if (this.#lost !== undefined) throw this.#lost;
      if (dispensable && !gone) return;
      const reason = gone ? new Interrupted("SIGPIPE") : unwritable(this.#which, error as Error);
      this.#lost = reason;
      this.#onLost(reason);
      throw reason;
    }
  }

  /** Who ends this command does not wait for a reader that takes nothing: rejects with the signal's reason then. */
  async #unlessStalled(work: () => unknown): Promise<void> {
    const { promise: stalled, reject } = Promise.withResolvers<never>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = () => {
      timer = setTimeout(() => reject(this.#signal.reason), PATIENCE_MS);
    };
    if (this.#signal.aborted) limit();
    else this.#signal.addEventListener("abort", limit, { once: true });
    try {
      await Promise.race([work(), stalled]);
    } finally {
      this.#signal.removeEventListener("abort", limit);
      clearTimeout(timer);
    }
  }

  async drain(): Promise<void> {
    if (this.#lost !== undefined) return;
    await this.#unlessStalled(() => this.#sink?.flush()).catch(() => {}); // what a failed write has left was told
  }
}

function unwritable({ name, code }: Which, { message }: Error): CapsaError {
  return new CapsaError(code, `${name} cannot be written to: ${message}`);
}
