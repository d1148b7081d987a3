/** Lines out of chunks of bytes, each up to a length; of a longer one what is at its outside, and no more. */

/** A line without its newline; `outline` of one that is too long, see `Outline`. */
export type Line = { readonly bytes: Uint8Array } | { readonly outline: string };

const NEWLINE = 0x0a;

export class Lines {
  readonly #most: number;
  #chunks: Uint8Array[] = [];
  #length = 0;
  /** Of a line that has become too long. */
  #outline: Outline | undefined;

  constructor(most: number) {
    this.#most = most;
  }

  /** The lines that end in this chunk. */
  *push(chunk: Uint8Array): Generator<Line> {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      this.#add(chunk.subarray(from, at));
      from = at + 1;
      yield this.#take();
    }
    this.#add(chunk.subarray(from));
  }

  #add(part: Uint8Array): void {
    this.#length += part.length;
    if (this.#outline === undefined && this.#length <= this.#most) {
      if (part.length > 0) this.#chunks.push(part);
      return;
    }
    this.#outline ??= new Outline();
    for (const before of this.#chunks.splice(0)) this.#outline.push(before);
    this.#outline.push(part);
  }

  #take(): Line {
    const line = this.#outline ? { outline: this.#outline.text } : { bytes: Buffer.concat(this.#chunks) };
    this.#chunks = [];
    this.#length = 0;
    this.#outline = undefined;
    return line;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING: ReadonlySet<number> = new Set([0x7b, 0x5b]); // { [
const CLOSING: ReadonlySet<number> = new Set([0x7d, 0x5d]);
/** Of the outline: what is at the outside of a message is short. */
const OUTLINE_MOST = 4096;

/** JSON without what is within its members: of `{"id":1,"params":{"a":[2]}}` there is `{"id":1,"params":{}}`. */
class Outline {
  readonly #kept: number[] = [];
  #depth = 0;
  #inText = false;
  #escaped = false;

  push(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.#inText) {
        this.#keep(byte);
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inText = false;
      } else if (CLOSING.has(byte)) {
        this.#depth--;
        this.#keep(byte);
      } else {
        this.#keep(byte);
        if (byte === QUOTE) this.#inText = true;
        else if (OPENING.has(byte)) this.#depth++;
      }
    }
  }

  #keep(byte: number): void {
    if (this.#depth <= 1 && this.#kept.length < OUTLINE_MOST) this.#kept.push(byte);
  }

  get text(): string {
    return Buffer.from(this.#kept).toString();
  }
}
