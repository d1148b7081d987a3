/** Texts found in a stream and starred out, byte by byte, so that nothing else moves. */

import { Transform, type TransformCallback } from "node:stream";

const STAR = 0x2a;

/** Passes everything on at once but for an end that may be the beginning of one of `texts`. */
export class Mask extends Transform {
  readonly #needles: readonly Buffer[];
  #held = Buffer.alloc(0);

  constructor(texts: readonly string[]) {
    super();
    this.#needles = texts.map((text) => Buffer.from(text, "latin1"));
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const data = Buffer.concat([this.#held, chunk]); // a copy: the chunk is not ours to write to
    for (const needle of this.#needles)
      for (let at = data.indexOf(needle); at >= 0; at = data.indexOf(needle, at + needle.length))
        data.fill(STAR, at, at + needle.length);
    const open = Math.max(0, ...this.#needles.map((needle) => openEnd(data, needle)));
    this.#held = data.subarray(data.length - open);
    done(null, data.subarray(0, data.length - open));
  }

  override _flush(done: TransformCallback): void {
    done(null, this.#held);
  }
}

/** How many bytes at the end of `data` `needle` begins with, if it does not end there. */
function openEnd(data: Buffer, needle: Buffer): number {
  const first = needle[0]!;
  const earliest = Math.max(0, data.length - needle.length + 1);
  for (let at = data.indexOf(first, earliest); at >= 0; at = data.indexOf(first, at + 1)) {
    const length = data.length - at;
    if (data.compare(needle, 0, length, at) === 0) return length;
  }
  return 0;
}
