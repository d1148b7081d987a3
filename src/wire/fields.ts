/** Readers of a message's fields: a value comes out as what it should be, or {@link ProtocolError} does. */

import { printableLine } from "../errors/printable.ts";
import { type Message, ProtocolError } from "./framing.ts";

/** A whole number from 0 to `max`. */
export function uint(message: Message, key: string, max = Number.MAX_SAFE_INTEGER): number {
  const value = message[key];
  const number = typeof value === "bigint" && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  if (typeof number !== "number" || !Number.isInteger(number) || number < 0 || number > max) {
    throw wrong(key, `a whole number up to ${max}`, value);
  }
  return number;
}

/** A finite number, whole or not. */
export function finite(message: Message, key: string): number {
  const value = message[key];
  const number = typeof value === "bigint" ? Number(value) : value;
  if (typeof number !== "number" || !Number.isFinite(number)) throw wrong(key, "a number", value);
  return number;
}

export function flag(message: Message, key: string): boolean {
  const value = message[key];
  if (typeof value !== "boolean") throw wrong(key, "true or false", value);
  return value;
}

export function bytes(message: Message, key: string): Uint8Array {
  const value = message[key];
  if (!(value instanceof Uint8Array)) throw wrong(key, "a byte string", value);
  return value;
}

/** Text of at most `max` UTF-16 units. */
export function text(message: Message, key: string, max = 65536): string {
  const value = message[key];
  if (typeof value !== "string" || value.length > max) throw wrong(key, `text up to ${max} long`, value);
  return value;
}

export function oneOf<const T extends string>(message: Message, key: string, values: readonly T[]): T {
  const value = message[key];
  const found = values.find((candidate) => candidate === value);
  if (found === undefined) throw wrong(key, `one of ${values.join(", ")}`, value);
  return found;
}

export function list(message: Message, key: string): readonly unknown[] {
  const value = message[key];
  if (!Array.isArray(value)) throw wrong(key, "a list", value);
  return value;
}

export function map(value: unknown, what: string): Message {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    throw new ProtocolError(`${what} is not a map`);
  }
  return value as Message;
}

/** Text for people, as one line that may be shown: of at most `max` UTF-16 units, the first 4096 of them. */
export function words(message: Message, key: string, max?: number): string {
  return printableLine(text(message, key, max).slice(0, 4096).trim());
}

/** An error of the other side: its code an upper-case word, its message words. */
export function failure(value: unknown): { code: string; message: string } {
  const error = map(value, "an error");
  const code = text(error, "code", 64);
  if (!/^[A-Z][A-Z0-9_]*$/.test(code)) throw wrong("code", "an upper-case word", code);
  return { code, message: words(error, "message") };
}

function wrong(key: string, wanted: string, value: unknown): ProtocolError {
  const shown = typeof value === "string" ? JSON.stringify(printableLine(value.slice(0, 40))) : typeof value;
  return new ProtocolError(`"${key}" should be ${wanted}, not ${value === undefined ? "absent" : shown}`);
}
