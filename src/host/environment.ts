/**
 * Where the environment says that programs are. Only absolute paths count: what is relative leads to the working directory,
 * which may be a guest's to write. Nor does a directory of PATH that a guest may write, as `npx` and `npm run` put a project's
 * `node_modules/.bin` there.
 */

import { isGuests } from "./hold.ts";

/** Of a machine that has no PATH. */
const USUAL_PATH = "/usr/local/bin:/usr/bin:/bin";

/** `PATH` without entries that are relative or empty, or that a guest may write. */
export function searchPath(): string {
  const entries = (process.env.PATH ?? "")
    .split(":")
    .filter((entry) => entry.startsWith("/") && !mayBeGuests(entry));
  return entries.join(":") || USUAL_PATH;
}

/** So does what is not there count, or is behind a guest's link. */
function mayBeGuests(directory: string): boolean {
  try {
    return isGuests(directory);
  } catch {
    return true;
  }
}

/** A program of this machine by its name; undefined where PATH leads to none. */
export function findProgram(name: string): string | undefined {
  return Bun.which(name, { PATH: searchPath() }) ?? undefined;
}
