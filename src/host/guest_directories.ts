/**
 * The directories of this machine that a guest may write, or once could: links in them are the guest's, and are not
 * followed. They are told by what they are, not by their path, and remembered in the user's state directory, a file each.
 */

import {
  existsSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { errorCode } from "./file_errors.ts";
import { writeWhole } from "./files.ts";
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

/** Undefined where no guest writes, or could. `fd`: of a directory, or of anything else. */
export function guestDirectory(fd: number, others?: GuestDirectories): GuestDirectory | undefined {
  const identity = lastingIdentity(fstatSync(fd, { bigint: true }));
  const note = join(base(), identity);
  const other = others?.get(identity);
  if (other !== undefined || !existsSync(note)) return other;
  const noted = read(note);
  if (isThere(noted.path, identity)) return noted;
  const renamed = { ...noted, path: readlinkSync(`/proc/self/fd/${fd}`) };
  try {
    writeWhole(note, renamed);
  } catch {
    // it stays known under its old name
  }
  return renamed;
}

/** From now on the directory is one of them. Throws where the state directory cannot be written. */
export function rememberGuestDirectory(status: Identified, directory: GuestDirectory): void {
  const note = join(base(), lastingIdentity(status));
  const isNew = !existsSync(note);
  mkdirSync(base(), { recursive: true, mode: 0o700 });
  writeWhole(note, directory);
  if (isNew) sweep();
}

function read(note: string): GuestDirectory {
  try {
    const { path, sandbox } = JSON.parse(readFileSync(note, "utf8"));
    return { path: String(path), sandbox: String(sandbox) };
  } catch {
    return { path: "a directory", sandbox: "unknown" }; // what matters is the note's name
  }
}

/** Once a day: forget what has been gone for long. The time of a note is when its directory was last seen. */
function sweep(): void {
  const swept = join(base(), SWEPT);
  const now = Date.now();
  const age = (path: string) => now - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  if (age(swept) < DAY_MS) return;
  writeFileSync(swept, "", { mode: 0o600 });
  for (const name of readdirSync(base())) {
    if (name === SWEPT) continue;
    const note = join(base(), name);
    if (isThere(read(note).path, name)) utimesSync(note, now / 1000, now / 1000);
    else if (age(note) > KEPT_MS) rmSync(note, { force: true });
  }
}

function isThere(path: string, identity: string): boolean {
  try {
    return lastingIdentity(statSync(path, { bigint: true })) === identity;
  } catch (error) {
    return errorCode(error) !== "ENOENT"; // who may not look there cannot tell
  }
}
