/** The calls of Linux that changes take and Node's files have none of. */

import { dlopen, ptr } from "bun:ffi";

const AT_FDCWD = -100;
const S_IFCHR = 0o020000;
const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const RENAME_WHITEOUT = 4;

function load() {
  return dlopen("libc.so.6", {
    mknod: { args: ["ptr", "u32", "u64"], returns: "i32" },
    setxattr: { args: ["ptr", "ptr", "ptr", "u64", "i32"], returns: "i32" },
    removexattr: { args: ["ptr", "ptr"], returns: "i32" },
    getxattr: { args: ["ptr", "ptr", "ptr", "u64"], returns: "i64" },
    renameat2: { args: ["i32", "ptr", "i32", "ptr", "u32"], returns: "i32" },
  }).symbols;
}

let loaded: ReturnType<typeof load> | undefined;

function libc(): ReturnType<typeof load> {
  loaded ??= load();
  return loaded;
}

const terminated = (text: string | Uint8Array) => Buffer.concat([Buffer.from(text), Buffer.of(0)]);

/** renameat2(2). False where it fails, or the file system cannot do that. */
function rename(from: string | Uint8Array, to: string | Uint8Array, flags: number): boolean {
  const [source, target] = [terminated(from), terminated(to)];
  return libc().renameat2(AT_FDCWD, ptr(source), AT_FDCWD, ptr(target), flags) === 0;
}

/** Have two names change places, in one step. */
export function exchange(one: Uint8Array, other: Uint8Array): boolean {
  return rename(one, other, RENAME_EXCHANGE);
}

/** Rename to a name that nothing has. */
export function renameAnew(from: Uint8Array, to: Uint8Array): boolean {
  return rename(from, to, RENAME_NOREPLACE);
}

/**
 * The value of an extended attribute of what the path leads to, as Latin-1; undefined where it has none, or one that is longer
 * than `most` bytes.
 */
export function attribute(path: string | Uint8Array, name: string, most = 16): string | undefined {
  const value = new Uint8Array(most);
  const [where, what] = [terminated(path), terminated(name)];
  const length = Number(libc().getxattr(ptr(where), ptr(what), ptr(value), value.length));
  return length < 0 ? undefined : Buffer.from(value.subarray(0, length)).toString("latin1");
}

/** Give what the path leads to an extended attribute; false where that fails. */
export function setAttribute(path: string | Uint8Array, name: string, value: string): boolean {
  const [where, what, data] = [terminated(path), terminated(name), Buffer.from(`${value}\0`, "latin1")];
  return libc().setxattr(ptr(where), ptr(what), ptr(data), data.length - 1, 0) === 0;
}

/** Take an extended attribute away from what the path leads to; false where that fails. */
export function removeAttribute(path: string | Uint8Array, name: string): boolean {
  const [where, what] = [terminated(path), terminated(name)];
  return libc().removexattr(ptr(where), ptr(what)) === 0;
}

/** Make an overlay's whiteout: a character device of number 0, for which Linux asks no privilege; false where that fails. */
export function makeWhiteout(path: string | Uint8Array): boolean {
  const where = terminated(path);
  return libc().mknod(ptr(where), S_IFCHR, 0) === 0;
}

/** Rename, and leave a whiteout at the old name; false where that fails. */
export function renameOut(from: string | Uint8Array, to: string | Uint8Array): boolean {
  return rename(from, to, RENAME_WHITEOUT);
}
