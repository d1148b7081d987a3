/** What tells a file or directory of this machine from every other one, whatever path leads to it. */

import type { BigIntStats } from "node:fs";

/** Device and inode: for as long as this machine runs, and as a monitor is told them. */
export type Identity = readonly [dev: bigint, ino: bigint];

export type Identified = Pick<BigIntStats, "dev" | "ino" | "birthtimeNs">;

/**
 * Holds beyond a restart of this machine, when devices may get other numbers: an inode that is given away again has another
 * time of birth. Where a file system has no such time, the device tells it from what has that inode elsewhere, for as long
 * as the device keeps its number.
 */
export function lastingIdentity({ dev, ino, birthtimeNs }: Identified): string {
  return birthtimeNs === 0n ? `${ino}-on-${dev}` : `${ino}-${birthtimeNs}`;
}
