/** Frames: a 4-byte big-endian length and one CBOR map, for the agent's, the VMM's and the event stream alike. */

// its pure part: the addon that comes with it takes longer to load than our small frames take to decode without
import { Encoder } from "cbor-x/index-no-eval";
import { ArgumentError } from "../errors/errors.ts";
import { checkProfile, ProtocolError } from "./profile.ts";

/** Largest body of a frame, bytes. */
export const MAX_FRAME = 1 << 20;

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
      hint: "what a program is to have of that size goes into a file, or to its stdin",
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

/** Cuts a stream of bytes into messages. Holds one incomplete frame at most. */
export class FrameDecoder {
  readonly #head = new Uint8Array(4);
  #headFill = 0;
  #body: Uint8Array | undefined;
  #bodyFill = 0;

  /** Whether a frame has begun that is not whole. */
  get pending(): boolean {
    return this.#headFill > 0 || this.#body !== undefined;
  }

  /** The messages that `chunk` completes, with the length of each one's body. Throws {@link ProtocolError}. */
  *push(chunk: Uint8Array): Generator<[message: Message, length: number]> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#body === undefined) {
        const part = chunk.subarray(at, at + 4 - this.#headFill);
        this.#head.set(part, this.#headFill);
        this.#headFill += part.length;
        at += part.length;
        if (this.#headFill < 4) return;
        const length = new DataView(this.#head.buffer).getUint32(0);
        if (length === 0 || length > MAX_FRAME)
          throw new ProtocolError(`it announced a frame of ${length} bytes`);
        if (chunk.length - at >= length) {
          this.#headFill = 0;
          yield [decodeCbor(chunk.subarray(at, at + length)), length];
          at += length;
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
      yield [decodeCbor(body), body.length];
    }
  }
}
