/**
 * The user's directories as the environment names them. Only absolute paths count: what is relative leads to the working
 * directory, which may be a guest's to write.
 */

import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { HostError } from "../errors/errors.ts";

/** The path that `variable`, named by its key, has; undefined where it has none. Throws {@link HostError}. */
export function absolute(variable: Readonly<Record<string, string | undefined>>): string | undefined {
  const [[name, path]] = Object.entries(variable) as [[string, string | undefined]];
  if (!path) return undefined;
  if (path.startsWith("/")) return path;
  throw new HostError("SPEC_INVALID", `${name} is "${path}"; it must be an absolute path`, {
    hint: `${name}=${resolve(path)}, if you mean that`,
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
