/** Frames: a 4-byte big-endian length and one CBOR map, for the agent's, the VMM's and the event stream alike. */

// its pure part: the addon that comes with it takes longer to load than our small frames take to decode without
import { Encoder } from "cbor-x/index-no-eval";
import { ArgumentError, CapsaError } from "../errors/errors.ts";

/** Largest body of a frame, bytes. */
const MAX_FRAME = 1 << 20;

/** A decoded frame; nothing is known of its values until a reader of fields.ts has looked at them. */
export type Message = { readonly [key: string]: unknown };

const cbor = new Encoder({
  useRecords: false,
  mapsAsObjects: true,
  tagUint8Array: false,
  variableMapSize: true,
});

/** CBOR of a map or array; keys that are undefined are left out, whole numbers stay whole at any size. */
export function encodeCbor(value: object): Uint8Array {
  return cbor.encode(exact(value));
}

/** One map. Throws `ProtocolError` on anything that the profile has not. */
export function decodeCbor(bytes: Uint8Array): Message {
  checkProfile(bytes);
  return cbor.decode(bytes) as Message;
}

// cbor-x writes undefined as a value and numbers past 32 bits as floats; a C reader wants neither.
function exact(value: unknown): unknown {
  if (typeof value === "number") {
    return Number.isInteger(value) && Math.abs(value) > 0xffffffff ? BigInt(value) : value;
  }
  if (Array.isArray(value)) return value.map(exact);
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(entries.map(([key, member]) => [key, exact(member)]));
}

/** One frame as bytes. Throws {@link ArgumentError} when it would be too large to send. */
export function encodeFrame(message: object): Uint8Array {
  const body = encodeCbor(message);
  if (body.length > MAX_FRAME)
    throw new ArgumentError(`a request of ${body.length} bytes is over the limit of ${MAX_FRAME}`, {
      hint: "write large data to a file in the guest, or send it to the program's stdin",
    });
  const frame = new Uint8Array(4 + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, 4);
  return frame;
}

/**
 * A frame `{ id, ev, data }`, or without an id. Its payload is copied once: one write of head and payload costs less than two, and the
 * caller may use its bytes again at once.
 */
export function encodeDataFrame(id: number | undefined, ev: string, data: Uint8Array): Uint8Array {
  const body = encodeCbor({ id, ev, data: new Uint8Array(0) }); // its last byte is the empty string's head
  const payload = 4 + body.length - 1 + 5;
  const frame = Buffer.allocUnsafe(payload + data.length);
  frame.writeUInt32BE(frame.length - 4);
  frame.set(body.subarray(0, -1), 4);
  frame[payload - 5] = 0x5a; // byte string with a 32-bit length
  frame.writeUInt32BE(data.length, payload - 4);
  frame.set(data, payload);
  return frame;
}

/** Cuts a stream of bytes into messages. Holds one incomplete frame at most, whose body may have `most` bytes. */
export class FrameDecoder {
  readonly #most: number;
  readonly #head = new Uint8Array(4);
  #headFill = 0;
  #body: Uint8Array | undefined;
  #bodyFill = 0;

  constructor(most = MAX_FRAME) {
    this.#most = most;
  }

  /** Whether a frame has begun that is not whole. */
  get pending(): boolean {
    return this.#headFill > 0 || this.#body !== undefined;
  }

  /** The messages that `chunk` completes, with the length of each one's body, and where it ends in `chunk`. Throws {@link ProtocolError}. */
  *push(chunk: Uint8Array): Generator<[message: Message, length: number, end: number]> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#body === undefined) {
        const part = chunk.subarray(at, at + 4 - this.#headFill);
        this.#head.set(part, this.#headFill);
        this.#headFill += part.length;
        at += part.length;
        if (this.#headFill < 4) return;
        const length = new DataView(this.#head.buffer).getUint32(0);
        if (length === 0 || length > this.#most)
          throw new ProtocolError(`it announced a frame of ${length} bytes`);
        if (chunk.length - at >= length) {
          this.#headFill = 0;
          at += length;
          yield [decodeCbor(chunk.subarray(at - length, at)), length, at];
          continue;
        }
        this.#body = new Uint8Array(length);
        this.#bodyFill = 0;
      }
      const body = this.#body;
      const part = chunk.subarray(at, at + body.length - this.#bodyFill);
      body.set(part, this.#bodyFill);
      this.#bodyFill += part.length;
      at += part.length;
      if (this.#bodyFill < body.length) return;
      this.#body = undefined;
      this.#headFill = 0;
      yield [decodeCbor(body), body.length, at];
    }
  }
}

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
function checkProfile(bytes: Uint8Array): void {
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
