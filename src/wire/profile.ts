/** The CBOR that host and guest exchange, checked byte by byte before anything is made of it. */

import { CapsaError } from "../errors/errors.ts";

/** The other side broke the protocol (`EPROTO`); whoever owns the connection ends it. */
export class ProtocolError extends CapsaError {
  override readonly name = "ProtocolError";

  constructor(message: string) {
    super("EPROTO", message);
  }
}

const MAX_DEPTH = 8;
const TYPED_UINT8 = 64; // RFC 8746

/**
 * Throws {@link ProtocolError} unless `bytes` is exactly one well-formed map of the profile in guest/protocol.cddl:
 * definite lengths, text keys, nesting at most 8 deep, no tag but 64 on a byte string, no count beyond the bytes there.
 */
export function checkProfile(bytes: Uint8Array): void {
  if (bytes.length === 0 || bytes[0]! >> 5 !== 5) throw new ProtocolError("a frame is not a CBOR map");
  const end = new Scan(bytes).item(0, 1);
  if (end !== bytes.length) throw new ProtocolError("bytes follow a frame's map");
}

class Scan {
  readonly #bytes: Uint8Array;
  /** The last head's argument, and where its content begins. */
  #argument = 0;
  #content = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The end of the item at `at`. */
  item(at: number, depth: number): number {
    if (depth > MAX_DEPTH) throw new ProtocolError("a frame is nested too deep");
    const major = this.#head(at);
    const count = this.#argument;
    let next = this.#content;
    switch (major) {
      case 0:
      case 1:
        return next;
      case 2:
      case 3:
        if (count > this.#bytes.length - next) throw new ProtocolError("a frame's string is cut short");
        return next + count;
      case 4:
        this.#room(count, next);
        for (let i = 0; i < count; i++) next = this.item(next, depth + 1);
        return next;
      case 5:
        this.#room(2 * count, next);
        for (let i = 0; i < count; i++) {
          if (this.#bytes[next]! >> 5 !== 3)
            throw new ProtocolError("a frame has a map key that is not text");
          next = this.item(this.item(next, depth + 1), depth + 1);
        }
        return next;
      case 6:
        if (count !== TYPED_UINT8 || this.#bytes[next]! >> 5 !== 2)
          throw new ProtocolError("a frame has a CBOR tag");
        return this.item(next, depth + 1);
      default:
        return next;
    }
  }

  #head(at: number): number {
    const initial = this.#bytes[at];
    if (initial === undefined) throw new ProtocolError("a frame is cut short");
    const info = initial & 31;
    const major = initial >> 5;
    if (info > 27) throw new ProtocolError("a frame has an indefinite length");
    if (major === 7 && (info < 20 || info === 24))
      throw new ProtocolError("a frame has an unknown simple value");
    const width = info < 24 ? 0 : 1 << (info - 24);
    if (at + 1 + width > this.#bytes.length) throw new ProtocolError("a frame is cut short");
    let argument = info < 24 ? info : 0;
    for (let i = 0; i < width; i++) argument = argument * 256 + this.#bytes[at + 1 + i]!;
    this.#argument = argument;
    this.#content = at + 1 + width;
    return major;
  }

  /** Every item takes a byte at least: a larger count is a lie, found before anything is made for it. */
  #room(items: number, at: number): void {
    if (items > this.#bytes.length - at) throw new ProtocolError("a frame counts more items than it has");
  }
}
