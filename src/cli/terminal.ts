/**
 * Standard output and error as the verbs use them: back-pressure honoured, colours only where a person sees them. Not by
 * `process.stdout`: Node's streams take longer to load than all the rest of a short command.
 */
import type { Colors } from "picocolors/types";
import { isTerminal } from "../engine/libc.ts";

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

  /** Write to stdout; resolves when it was taken. A closed pipe rejects with EPIPE. */
  async write(chunk: string | Uint8Array): Promise<void> {
    this.#out ??= Bun.file(1).writer();
    try {
      await put(this.#out, chunk);
    } catch (error) {
      this.#onLost(error as NodeJS.ErrnoException);
      throw error;
    }
  }

  /** Write a line to stdout. */
  print(line: string): Promise<void> {
    return this.write(`${line}\n`);
  }

  /** One JSON document on stdout. */
  json(value: unknown): Promise<void> {
    return this.print(JSON.stringify(value, null, 2));
  }

  /** Write to stderr; a closed one is no reason to fail. */
  async writeError(chunk: string | Uint8Array): Promise<void> {
    this.#error ??= Bun.file(2).writer();
    await put(this.#error, chunk).catch(() => {});
  }

  /** Write a line to stderr. */
  say(line: string): Promise<void> {
    return this.writeError(`${line}\n`);
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
