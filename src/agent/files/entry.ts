/** What the guest tells of a file: a known type, a size, a time that is one; and of an entry a name that is one. */

import { finite, oneOf, uint } from "../../wire/fields.ts";
import type { Message } from "../../wire/framing.ts";
import { ProtocolError } from "../../wire/profile.ts";
import { own } from "../../wire/streams.ts";
import type { DirEntry, FileStat } from "../api.ts";

const TYPES = ["file", "dir", "symlink", "fifo", "socket", "char", "block"] as const;
const MAX_NAME = 255; // NAME_MAX, bytes
const MAX_TIME = 8.64e15; // of a Date, milliseconds

/** Throws {@link ProtocolError} on anything a directory cannot hold: a name with a slash would reach elsewhere. */
export function readEntry(entry: Message): DirEntry {
  const raw = entry.name;
  if (typeof raw !== "string" && !(raw instanceof Uint8Array))
    throw new ProtocolError("an entry has no name");
  const name = typeof raw === "string" ? raw : new TextDecoder().decode(raw);
  const size = typeof raw === "string" ? Buffer.byteLength(raw) : raw.length;
  if (size === 0 || size > MAX_NAME || name === "." || name === ".." || /[/\0]/.test(name)) {
    throw new ProtocolError("an entry's name cannot be one");
  }
  return {
    name,
    ...(typeof raw === "string" ? {} : { nameBytes: own(raw) }),
    ...common(entry),
  };
}

/**
 * A path below a directory; where it is not UTF-8 the bad bytes show as U+FFFD. Throws {@link ProtocolError} for one that
 * would lead elsewhere.
 */
export function relativePath(told: unknown): string {
  const path = told instanceof Uint8Array ? new TextDecoder().decode(told) : told;
  if (
    typeof path !== "string" ||
    /\0/.test(path) ||
    path.split("/").some((name) => ["", ".", ".."].includes(name))
  )
    throw new ProtocolError("a path below a directory cannot be one");
  return path;
}

/** Throws {@link ProtocolError} on what no file can be. */
export function readStat(told: Message): FileStat {
  return {
    ...common(told),
    user: uint(told, "user", 0xffffffff),
    group: uint(told, "group", 0xffffffff),
    links: uint(told, "links"),
    atime: time(told, "atimeMs"),
    ctime: time(told, "ctimeMs"),
  };
}

function common(told: Message): Pick<DirEntry, "type" | "size" | "mode" | "mtime"> {
  return {
    type: oneOf(told, "type", TYPES),
    size: uint(told, "size"),
    mode: uint(told, "mode", 0o7777),
    mtime: time(told, "mtimeMs"),
  };
}

function time(told: Message, key: string): Date {
  const ms = finite(told, key);
  if (Math.abs(ms) > MAX_TIME) throw new ProtocolError("a file's time is out of range");
  return new Date(ms);
}
