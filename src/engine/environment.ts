/**
 * Where the environment says that files and programs are. Only absolute paths count: what is relative leads to the working
 * directory, which may be a guest's to write. Nor does a directory of PATH that a guest may write, as `npx` and `npm run` put
 * a project's `node_modules/.bin` there.
 */

import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { HostError } from "../errors.ts";
import { isGuests } from "../host/hold.ts";

/** Of a machine that has no PATH. */
const USUAL_PATH = "/usr/local/bin:/usr/bin:/bin";

/** The path that `variable`, named by its key, has; undefined where it has none. Throws {@link HostError}. */
export function absolute(variable: Readonly<Record<string, string | undefined>>): string | undefined {
  const [[name, path]] = Object.entries(variable) as [[string, string | undefined]];
  if (!path) return undefined;
  if (path.startsWith("/")) return path;
  throw new HostError("SPEC_INVALID", `${name} is "${path}"; it may only be an absolute path`, {
    hint: `${name}=${resolve(path)}, if that is meant`,
  });
}

/** What this user's programs keep: `$XDG_STATE_HOME`, or `~/.local/state`. Throws {@link HostError}. */
export function stateHome(): string {
  const { XDG_STATE_HOME } = process.env;
  return absolute({ XDG_STATE_HOME }) ?? join(home(), ".local", "state");
}

/** What this user's programs could make again: `$XDG_CACHE_HOME`, or `~/.cache`. Throws {@link HostError}. */
export function cacheHome(): string {
  const { XDG_CACHE_HOME } = process.env;
  return absolute({ XDG_CACHE_HOME }) ?? join(home(), ".cache");
}

function home(): string {
  const { HOME } = process.env;
  return absolute({ HOME }) ?? homedir();
}

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
