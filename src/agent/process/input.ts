/** What a caller gives to feed a program or a file, as pieces small enough for a frame. */

import { ArgumentError, CapsaError } from "../../errors/errors.ts";
import { shown } from "../../errors/printable.ts";
import type { Input } from "../api.ts";

/** Largest payload of one data frame: it wakes each side once, and a frame's limit is four times that. */
export const PIECE = 262_144;

/** The bytes of `input` in pieces of at most {@link PIECE}. Throws `ArgumentError` on what is not an input, or fails. */
export async function* pieces(input: Input): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of chunks(input)) {
      const data = typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk;
      if (!(data instanceof Uint8Array)) {
        throw new ArgumentError(
          `an input stream gave ${typeof chunk}; it should give strings or Uint8Arrays`,
        );
      }
      for (let at = 0; at < data.length; at += PIECE) yield data.subarray(at, at + PIECE);
    }
  } catch (cause) {
    if (cause instanceof CapsaError) throw cause;
    throw new ArgumentError(`an input failed: ${cause instanceof Error ? cause.message : shown(cause)}`, {
      cause,
    });
  }
}

function chunks(input: Input): Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array> {
  if (typeof input === "string" || input instanceof Uint8Array) return [input];
  if (input instanceof Blob) return input.stream();
  if (typeof input === "object" && input !== null && Symbol.asyncIterator in input) return input;
  throw new ArgumentError("an input should be a string, Uint8Array, Blob, ReadableStream or AsyncIterable");
}
