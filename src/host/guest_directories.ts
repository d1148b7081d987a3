/**
 * The directories of this machine that a guest may write, or once could: links in them are the guest's, and are not
 * followed. They are told by what they are, not by their path, and remembered in the user's state directory, a file each.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorCode } from "./errors.ts";
import { stateHome } from "./homes.ts";
import { type Identified, lastingIdentity } from "./identity.ts";

/** One of them, for messages. */
export interface GuestDirectory {
  readonly path: string;
  /** Name of a sandbox that may write there. */
  readonly sandbox: string;
}

/** More of them than are remembered, by their lasting identity. */
export type GuestDirectories = ReadonlyMap<string, GuestDirectory>;

/** A directory that is gone, or on a disk that is not there, is remembered so long. */
const KEPT_MS = 30 * 24 * 3_600_000;
const DAY_MS = 24 * 3_600_000;
const SWEPT = "swept";

/** `$XDG_STATE_HOME/capsa/guest-directories`. Throws `HostError`. */
function base(): string {
  return join(stateHome(), "capsa", "guest-directories");
}

/** Undefined where no guest writes, or could. */
export function guestDirectory(status: Identified, others?: GuestDirectories): GuestDirectory | undefined {
  const identity = lastingIdentity(status);
  const path = join(base(), identity);
  return others?.get(identity) ?? (existsSync(path) ? read(path) : undefined);
}

/** From now on the directory is one of them. Throws where the state directory cannot be written. */
export function rememberGuestDirectory(status: Identified, directory: GuestDirectory): void {
  const path = join(base(), lastingIdentity(status));
  const isNew = !existsSync(path);
  mkdirSync(base(), { recursive: true, mode: 0o700 });
  writeFileSync(path, JSON.stringify(directory), { mode: 0o600 });
  if (isNew) sweep();
}

function read(path: string): GuestDirectory {
  try {
    const { path: directory, sandbox } = JSON.parse(readFileSync(path, "utf8"));
    return { path: String(directory), sandbox: String(sandbox) };
  } catch {
    return { path: "a directory", sandbox: "unknown" }; // being written at this moment
  }
}

/** Once a day: forget what has been gone for long. */
function sweep(): void {
  const swept = join(base(), SWEPT);
  const now = Date.now();
  const age = (path: string) => now - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  if (age(swept) < DAY_MS) return;
  writeFileSync(swept, "", { mode: 0o600 });
  for (const name of readdirSync(base())) {
    const path = join(base(), name);
    if (name !== SWEPT && age(path) > KEPT_MS && !isThere(read(path).path, name))
      rmSync(path, { force: true });
  }
}

function isThere(path: string, identity: string): boolean {
  try {
    return lastingIdentity(statSync(path, { bigint: true })) === identity;
  } catch (error) {
    return errorCode(error) !== "ENOENT"; // who may not look there cannot tell
  }
}
