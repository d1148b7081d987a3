/** Files of this machine as bytes: only a plain one is read, written is one whole or not at all, and where its holes are. */

import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { SEEK_DATA, SEEK_HOLE, seek } from "./libc.ts";

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

/** A file of JSON. For this user alone. `flush`: so that it outlives a loss of power, which takes its time. */
export function writeWhole(path: string, value: unknown, options: { flush?: boolean } = {}): void {
  writeText(path, JSON.stringify(value), options);
}

/** The same of text, or bytes. */
export function writeText(
  path: string,
  text: string | Uint8Array,
  { flush = false }: { flush?: boolean } = {},
): void {
  const beside = `${path}.${process.pid}`; // another process may be writing it, too
  try {
    writeFileSync(beside, text, { mode: 0o600, flush });
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
}

export interface Run {
  readonly hole: boolean;
  /** Bytes; Infinity: to the end, wherever that is. */
  readonly length: number;
}

/** The runs of an open file. One without holes, or whose file system tells of none, is one run of data. */
export function* runs(fd: number): Generator<Run> {
  const { size, blocks } = fstatSync(fd);
  if (blocks * 512 >= size || seek(fd, 0, SEEK_HOLE) < 0) {
    yield { hole: false, length: Number.POSITIVE_INFINITY };
    return;
  }
  for (let at = 0; at < size; ) {
    const found = seek(fd, at, SEEK_DATA);
    const data = found < 0 || found > size ? size : found; // none any more
    if (data > at) yield { hole: true, length: data - at };
    at = data;
    if (at >= size) return;
    const hole = seek(fd, at, SEEK_HOLE);
    const end = hole <= at ? size : Math.min(hole, size);
    yield { hole: false, length: end - at };
    at = end;
  }
}
