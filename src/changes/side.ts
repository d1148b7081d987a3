/** What is at a name: in the shared directory before, in the guest's layer after. */

import { type BigIntStats, lstatSync, readlinkSync } from "node:fs";
import { errorCode } from "../host/file_errors.ts";
import { lastingIdentity } from "../host/identity.ts";
import type { Place } from "../host/place.ts";

export interface Side {
  /** `special`: a fifo, a socket or a device. */
  readonly type: "file" | "directory" | "symlink" | "special";
  /** Bytes. */
  readonly size: number;
  /** Permission bits, without set-id and sticky ones. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly ino: bigint;
  readonly dev: bigint;
  /** Nanoseconds since 1970; no program can set the time of change. */
  readonly ctimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly birthtimeNs: bigint;
  /** Of a symbolic link. */
  readonly target?: Buffer;
  /** An overlay's mark that there is nothing, whatever lies below it. */
  readonly whiteout: boolean;
}

/** Of the name in the directory, which is not followed; undefined where nothing is. Throws `HostFileError`. */
export function look(place: Place, name: Buffer): Side | undefined {
  return place.try(name, (path) => {
    try {
      const status = lstatSync(path, { bigint: true });
      return sideOf(status, status.isSymbolicLink() ? readlinkSync(path, { encoding: "buffer" }) : undefined);
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      throw error;
    }
  });
}

export function sideOf(status: BigIntStats, target?: Buffer): Side {
  const { size, mode, uid, gid, ino, dev, ctimeNs, mtimeNs, birthtimeNs } = status;
  return {
    type: typeOf(status),
    size: Number(size),
    mode: Number(mode & 0o777n),
    uid: Number(uid),
    gid: Number(gid),
    ino,
    dev,
    ctimeNs,
    mtimeNs,
    birthtimeNs,
    whiteout: status.isCharacterDevice() && status.rdev === 0n,
    ...(target === undefined ? {} : { target }),
  };
}

function typeOf(status: BigIntStats): Side["type"] {
  if (status.isFile()) return "file";
  if (status.isDirectory()) return "directory";
  return status.isSymbolicLink() ? "symlink" : "special";
}

/** Tells a file from itself after any change, and from every other one. A directory is the same whatever is in it. */
export function signature(side: Side | undefined): string {
  if (side === undefined) return "nothing";
  if (side.type === "directory") return `${identity(side)} ${side.mode}`;
  return `${identity(side)} ${side.ctimeNs}`;
}

/** The same, but for what a rename changes. */
export function identity(side: Side | undefined): string {
  if (side === undefined) return "nothing";
  if (side.type === "directory") return `directory ${side.dev}:${lastingIdentity(side)}`;
  return `${side.type} ${side.dev}:${side.ino} ${side.size} ${side.mtimeNs}`;
}
