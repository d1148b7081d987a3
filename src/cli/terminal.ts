/**
 * Standard output and error as the verbs use them: back-pressure honoured, colours only where a person sees them. Not by
 * `process.stdout`: Node's streams take longer to load than all the rest of a short command.
 */
import type { Colors } from "picocolors/types";
import { isTerminal } from "../engine/libc.ts";
import { printable, printableJson } from "../printable.ts";

export class Terminal {
  #out: Bun.FileSink | undefined;
  #error: Bun.FileSink | undefined;
  readonly #onLost: (error: NodeJS.ErrnoException) => void;

  /** `onLost` is told when stdout cannot be written to: its reader has gone (EPIPE), the disk is full … */
  constructor(onLost: (error: NodeJS.ErrnoException) => void) {
    this.#onLost = onLost;
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

  /** Write to stdout, to the byte; resolves when it was taken. A closed pipe rejects with EPIPE. */
  async write(chunk: string | Uint8Array): Promise<void> {
    this.#out ??= Bun.file(1).writer();
    try {
      await put(this.#out, chunk);
    } catch (error) {
      this.#onLost(error as NodeJS.ErrnoException);
      throw error;
    }
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

  /** Write to stderr, to the byte; a closed one is no reason to fail. */
  async writeError(chunk: string | Uint8Array): Promise<void> {
    this.#error ??= Bun.file(2).writer();
    await put(this.#error, chunk).catch(() => {});
  }

  /** As {@link print}, to stderr. */
  say(line: string): Promise<void> {
    return this.writeError(`${printable(line)}\n`);
  }

  /** Resolves when all that was written has been taken, or cannot be. */
  async drain(): Promise<void> {
    // in functions of their own: flush throws at once where what a failed write has left cannot be written either
    await Promise.allSettled([this.#out, this.#error].map(async (sink) => sink?.flush()));
  }
}

async function put(sink: Bun.FileSink, chunk: string | Uint8Array): Promise<void> {
  await sink.write(chunk);
  await sink.flush();
}
