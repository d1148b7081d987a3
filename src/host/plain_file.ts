/** Files that somebody else may have put there: only a plain one is opened, and nothing waits for what it is. */

import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

/**
 * A descriptor of a regular file with no second name, or undefined for anything else: a link would lead to another file,
 * and a FIFO would keep its reader waiting. `flags` are those of open(2); undefined where that fails, too.
 */
export function openPlainFile(path: string, flags: number = O_RDONLY, mode = 0o600): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, flags | O_NOFOLLOW | O_NONBLOCK, mode);
  } catch {
    return undefined;
  }
  const status = fstatSync(fd);
  if (status.isFile() && status.nlink === 1) return fd;
  closeSync(fd);
  return undefined;
}

/** The first `limit` bytes of a plain file; nothing of what is none, or cannot be opened. */
export function readPlainFile(path: string, limit: number): Uint8Array {
  const fd = openPlainFile(path);
  if (fd === undefined) return new Uint8Array(0);
  try {
    return readSome(fd, Math.min(limit, fstatSync(fd).size));
  } finally {
    closeSync(fd);
  }
}

/** As many bytes from the beginning, or fewer where it ends before. */
export function readSome(fd: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let have = 0;
  while (have < length) {
    const count = readSync(fd, bytes, have, length - have, have);
    if (count === 0) break;
    have += count;
  }
  return bytes.subarray(0, have);
}
