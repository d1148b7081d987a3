/** An entry of a directory as the guest sends it: a name that is one, a known type. */

import type { DirEntry } from "./api.ts";
import { finite, oneOf, uint } from "./fields.ts";
import type { Message } from "./framing.ts";
import { own } from "./outlet.ts";
import { ProtocolError } from "./profile.ts";

const TYPES = ["file", "dir", "symlink", "fifo", "socket", "char", "block"] as const;
const MAX_NAME = 255; // NAME_MAX, bytes

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
  const mtimeMs = finite(entry, "mtimeMs");
  if (Math.abs(mtimeMs) > 8.64e15) throw new ProtocolError("an entry's time is out of range");
  return {
    name,
    ...(typeof raw === "string" ? {} : { nameBytes: own(raw) }),
    type: oneOf(entry, "type", TYPES),
    size: uint(entry, "size"),
    mode: uint(entry, "mode", 0o7777),
    mtime: new Date(mtimeMs),
  };
}
