/** What fits an answer of something that may be long: its beginning, its end, and how much is not there. */

import { Collector } from "../wire/streams.ts";

/** Bytes of one UTF-8 character, but for the first. */
const CONTINUATION = 0b1000_0000;

export class Excerpt {
  readonly #limit: number;
  readonly #kept: Collector;

  /** `limit`: bytes to keep, half of them of the end. */
  constructor(limit: number) {
    this.#limit = limit;
    this.#kept = new Collector(Math.ceil(limit / 2), Math.floor(limit / 2));
  }

  /** Bytes that were left out. */
  get leftOut(): number {
    return Math.max(0, this.#kept.length - this.#limit);
  }

  add(chunk: Uint8Array): void {
    this.#kept.add(chunk);
  }

  /** As UTF-8 text, which says where something is missing. */
  text(): string {
    const decoder = new TextDecoder();
    if (this.leftOut === 0) return decoder.decode(this.#kept.bytes());
    const left = `\n[… ${this.leftOut} bytes are left out here: an answer holds ${this.#limit} …]\n`;
    const head = this.#kept.first();
    return (
      decoder.decode(head.subarray(0, wholeCharacters(head))) +
      left +
      decoder.decode(afterCut(this.#kept.last()))
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
