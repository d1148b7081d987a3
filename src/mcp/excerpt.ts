/** What fits an answer of something that may be long: its beginning, its end, and how much is not there. */

/** Bytes of one UTF-8 character, but for the first. */
const CONTINUATION = 0b1000_0000;

export class Excerpt {
  /** Bytes that were left out. */
  leftOut = 0;
  readonly #limit: number;
  readonly #head: Uint8Array[] = [];
  #headSize = 0;
  #tail: Uint8Array = new Uint8Array();

  /** `limit`: bytes to keep, half of them of the end. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  add(chunk: Uint8Array): void {
    const head = chunk.subarray(0, Math.ceil(this.#limit / 2) - this.#headSize);
    if (head.length > 0) {
      this.#head.push(head.slice());
      this.#headSize += head.length;
    }
    const rest = chunk.subarray(head.length);
    if (rest.length === 0) return;
    const room = Math.floor(this.#limit / 2);
    const joined = Buffer.concat([this.#tail, rest.subarray(-Math.max(room, 1))]);
    const kept = joined.subarray(Math.max(0, joined.length - room));
    this.leftOut += this.#tail.length + rest.length - kept.length;
    this.#tail = kept;
  }

  /** As UTF-8 text, which says where something is missing. */
  text(): string {
    const decoder = new TextDecoder();
    const head = Buffer.concat(this.#head);
    if (this.leftOut === 0) return decoder.decode(Buffer.concat([head, this.#tail]));
    const left = `\n[… ${this.leftOut} bytes are left out here: an answer holds ${this.#limit} …]\n`;
    return (
      decoder.decode(head.subarray(0, wholeCharacters(head))) + left + decoder.decode(afterCut(this.#tail))
    );
  }
}

/** How many of `bytes`, which were cut off somewhere, are whole characters. */
export function wholeCharacters(bytes: Uint8Array): number {
  for (let start = bytes.length - 1; start >= Math.max(0, bytes.length - 4); start--) {
    const byte = bytes[start]!;
    if ((byte & 0xc0) === CONTINUATION) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return start + length > bytes.length ? start : bytes.length;
  }
  return bytes.length;
}

/** Without the rest of a character that began before. */
function afterCut(bytes: Uint8Array): Uint8Array {
  const start = bytes.subarray(0, 4).findIndex((byte) => (byte & 0xc0) !== CONTINUATION);
  return bytes.subarray(Math.max(0, start));
}
