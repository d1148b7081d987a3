/** The way to a Unix socket in a directory where somebody else writes. */

import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { VmmError } from "../errors.ts";

/** Linux's; node:fs does not name it. */
const O_PATH = 0o10000000;
/** What a path says where no socket is yet, or where nobody takes connections now. */
const NOBODY: ReadonlySet<unknown> = new Set(["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE", "EAGAIN"]);

/** An error of the system that says so. */
export function saysNobodyListens(error: unknown): boolean {
  return NOBODY.has((error as NodeJS.ErrnoException | undefined)?.code);
}

/**
 * Runs `connect` with a path that leads to the socket at `path` and nowhere else. A link is refused: it might lead to any
 * socket of this user. Rejects with the system's error where nobody listens, and else with {@link VmmError}
 * `NOT_A_SOCKET`.
 */
export async function withSocket<T>(path: string, connect: (path: string) => Promise<T>): Promise<T> {
  if (process.platform !== "linux") return connect(path);
  let fd: number | undefined;
  try {
    fd = openSync(path, O_PATH | constants.O_NOFOLLOW);
    const status = fstatSync(fd);
    if (status.isSocket() && status.nlink === 1) return await connect(`/proc/self/fd/${fd}`);
  } catch (error) {
    if (saysNobodyListens(error)) throw error;
    throw notASocket(path, error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  throw notASocket(path);
}

function notASocket(path: string, cause?: unknown): VmmError {
  return new VmmError("NOT_A_SOCKET", `${path} is no socket to connect to: something else is in its place`, {
    hint: "end that sandbox with `capsa down`: its guest may have taken over its VMM",
    cause,
  });
}
