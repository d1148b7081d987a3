/** The way to a Unix socket in a directory where somebody else writes. */

import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { VmmError } from "../errors/errors.ts";
import { O_PATH } from "./libc.ts";

/** What a path says where no socket is yet, or where nobody takes connections now. */
const NOBODY: ReadonlySet<unknown> = new Set(["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE", "EAGAIN"]);

/** An error of the system that says so. */
export function saysNobodyListens(error: unknown): boolean {
  return NOBODY.has((error as NodeJS.ErrnoException | undefined)?.code);
}

/**
 * Runs `connect` with a path that leads to the socket at `path` and nowhere else. A link is refused: it might lead to any
 * socket of this user. Rejects with {@link VmmError} `NOT_A_SOCKET` where there is something else, with the system's error
 * where it cannot be looked up, and as `connect` does.
 */
export async function withSocket<T>(path: string, connect: (path: string) => Promise<T>): Promise<T> {
  if (process.platform !== "linux") return connect(path);
  const fd = openSync(path, O_PATH | constants.O_NOFOLLOW);
  try {
    const status = fstatSync(fd);
    if (status.isSocket() && status.nlink === 1) return await connect(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
  throw new VmmError("NOT_A_SOCKET", `${path} is no socket to connect to: something else is in its place`, {
    hint: "end that sandbox with `capsa down`: its guest may have taken over its VMM",
  });
}
