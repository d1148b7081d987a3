/** What tells a file or directory of this machine from every other one, whatever path leads to it. */

import type { BigIntStats } from "node:fs";

/** Device and inode: for as long as this machine runs, and as a monitor is told them. */
export type Identity = readonly [dev: bigint, ino: bigint];

export type Identified = Pick<BigIntStats, "ino" | "birthtimeNs">;

/**
 * Holds beyond a restart of this machine, when devices may get other numbers: an inode that is given away again has another
 * time of birth. (Where a file system has no such time, the inode alone.)
 */
export function lastingIdentity({ ino, birthtimeNs }: Identified): string {
  return `${ino}-${birthtimeNs}`;
}
