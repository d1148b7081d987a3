/** Where the data of a file is, and where its holes are. */

import { fstatSync } from "node:fs";
import { SEEK_DATA, SEEK_HOLE, seek } from "./libc.ts";

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
