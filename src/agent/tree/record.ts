/** A tree as a stream of records (`tree` in guest/protocol.cddl): what may be in one, and how it is written. */

import { bytes, finite, oneOf, uint } from "../../wire/fields.ts";
import { encodeDataFrame, encodeFrame, type Message, ProtocolError } from "../../wire/framing.ts";
import { own } from "../../wire/streams.ts";
import type { SpecialType } from "../api.ts";

/** Longest path below the root that a hard link may lead to, bytes. */
export const MAX_TARGET = 4095;
const MAX_NAME = 255;

const SPECIAL = ["fifo", "socket", "char", "block"] as const satisfies readonly SpecialType[];
const KINDS = ["dir", "file", "symlink", "link", ...SPECIAL, "data", "hole", "end"] as const;

/** Names are bytes, as file systems have them; that of the root is empty. */
export type TreeRecord =
  | { readonly ev: "dir" | "file"; readonly name: Buffer; readonly mode: number; readonly mtimeNs: bigint }
  | { readonly ev: "symlink"; readonly name: Buffer; readonly target: Buffer; readonly mtimeNs: bigint }
  | { readonly ev: "link"; readonly name: Buffer; readonly target: readonly Buffer[] }
  | { readonly ev: SpecialType; readonly name: Buffer }
  | { readonly ev: "data"; readonly data: Uint8Array }
  | { readonly ev: "hole"; readonly size: number }
  | { readonly ev: "end" };

/** Throws `ProtocolError` on what is no record; `isRoot`: it has no name. */
export function readRecord(told: Message, isRoot: boolean): TreeRecord {
  const ev = oneOf(told, "ev", KINDS);
  switch (ev) {
    case "data":
      return { ev, data: bytes(told, "data") };
    case "hole":
      return { ev, size: uint(told, "size") };
    case "end":
      return { ev };
  }
  const name = isRoot ? Buffer.alloc(0) : nameOf(string(told, "name"));
  switch (ev) {
    case "dir":
    case "file":
      return { ev, name, mode: uint(told, "mode", 0o7777), mtimeNs: time(told) };
    case "symlink":
      return { ev, name, target: linkTarget(string(told, "target")), mtimeNs: time(told) };
    case "link":
      return { ev, name, target: split(string(told, "target")).map(nameOf) };
    default:
      return { ev, name };
  }
}

/** One record of any kind but data. */
export function writeRecord(record: object): Uint8Array {
  return encodeFrame(record);
}

export function writeData(data: Uint8Array): Uint8Array {
  return encodeDataFrame(undefined, "data", data);
}

/** A name as it is sent: text where that is what it is. */
export function nameValue(name: Buffer): string | Uint8Array {
  const text = name.toString();
  return Buffer.from(text).equals(name) ? text : name;
}

function string(told: Message, key: string): Buffer {
  const value = told[key];
  if (typeof value === "string") return Buffer.from(value);
  if (value instanceof Uint8Array) return Buffer.from(own(value));
  throw new ProtocolError(`"${key}" of a tree's record is no string`);
}

/** One name of a directory: with a slash, or as "..", it would be a way out of it. */
function nameOf(name: Buffer): Buffer {
  const text = name.toString("latin1");
  if (name.length === 0 || name.length > MAX_NAME || text === "." || text === ".." || /[/\0]/.test(text)) {
    throw new ProtocolError("a name in a tree cannot be one");
  }
  return name;
}

function linkTarget(target: Buffer): Buffer {
  if (target.length === 0 || target.length > MAX_TARGET || target.includes(0)) {
    throw new ProtocolError("a link in a tree cannot lead there");
  }
  return target;
}

function split(path: Buffer): Buffer[] {
  const names: Buffer[] = [];
  let at = 0;
  for (let slash = path.indexOf(0x2f); slash !== -1; slash = path.indexOf(0x2f, at)) {
    names.push(path.subarray(at, slash));
    at = slash + 1;
  }
  return [...names, path.subarray(at)];
}

function time(told: Message): bigint {
  return typeof told.mtimeNs === "bigint" ? told.mtimeNs : BigInt(Math.trunc(finite(told, "mtimeNs")));
}
