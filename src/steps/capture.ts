/** Keeps what a command prints: whole up to a limit for expectations, and always the end for reports. */

/** Longest output that can be compared with an expectation, bytes. */
export const COMPARABLE = 16 * 1024 * 1024;
/** How much of the end a report shows, bytes. */
const TAIL = 4096;

export class Capture {
  readonly #limit: number;
  readonly #kept: Uint8Array[] = [];
  #tail: Uint8Array = new Uint8Array();
  #total = 0;

  /** `whole`: keep everything up to {@link COMPARABLE}; else only the end. */
  constructor(whole: boolean) {
    this.#limit = whole ? COMPARABLE : 0;
  }

  add(chunk: Uint8Array): void {
    this.#total += chunk.length;
    if (this.#total <= this.#limit) this.#kept.push(chunk.slice());
    const joined = Buffer.concat([this.#tail, chunk.subarray(-TAIL)]);
    this.#tail = joined.subarray(-TAIL);
  }

  /** Everything that was printed, or undefined where that was more than was kept. */
  whole(): Uint8Array | undefined {
    return this.#total <= this.#limit ? Buffer.concat(this.#kept) : undefined;
  }

  /** The end as text, from the beginning of a line where something is left out. */
  tail(): string {
    const text = new TextDecoder().decode(this.#tail);
    return this.#total > TAIL ? text.slice(text.indexOf("\n") + 1) : text;
  }
}
