/** Where sandboxes live on the host: the runtime directory of this user, its lock, what lies where in it, and the logs of those that ended. */

import { closeSync, lstatSync, mkdirSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import { CapsaError, HostError } from "../errors/errors.ts";
import { errorCode } from "./file_errors.ts";
import { stateHome } from "./homes.ts";
import { lockFile } from "./libc.ts";
import { removeTree } from "./place.ts";

/** A socket's path is at most 108 bytes; "/<id>/vmm/host-4294967295.sock" has to fit behind this. */
const MAX_BASE = 71;
const LOCK_PATIENCE_MS = 5000;

/**
 * The directory that holds one directory a sandbox: `CAPSA_RUNTIME_DIR`, `$XDG_RUNTIME_DIR/capsa` or
 * `/run/user/UID/capsa`. Where there is none of these it is `/tmp/capsa-UID` or, where somebody else has that, one among
 * the user's state. Made with mode 0700 where it is missing. Throws {@link HostError} `RUNTIME_DIR` when it is not ours
 * alone, or too long for sockets.
 */
export function runtimeBase(): string {
  const { CAPSA_RUNTIME_DIR, XDG_RUNTIME_DIR } = process.env;
  if (CAPSA_RUNTIME_DIR) return prepare(CAPSA_RUNTIME_DIR);
  if (XDG_RUNTIME_DIR) return prepare(join(XDG_RUNTIME_DIR, "capsa"));
  const uid = process.geteuid?.() ?? 0;
  const run = statSync(`/run/user/${uid}`, { throwIfNoEntry: false });
  return run?.uid === uid ? prepare(`/run/user/${uid}/capsa`) : sharedBase(`/tmp/capsa-${uid}`);
}

/**
 * `preferred`, whose name anybody may take before; then the one among the user's state. Once that was made it stays: the
 * sandboxes in it are to be found.
 */
export function sharedBase(preferred: string): string {
  const own = join(stateBase(), "run");
  if (lstatSync(own, { throwIfNoEntry: false }) !== undefined) return prepare(own);
  try {
    return prepare(preferred);
  } catch (taken) {
    if (ownerOf(preferred) === process.geteuid?.()) throw taken;
    try {
      return prepare(own);
    } catch (error) {
      if (!(taken instanceof HostError && error instanceof HostError)) throw error;
      throw new HostError("RUNTIME_DIR", `${taken.message}; and ${error.message}`, {
        hint: "set CAPSA_RUNTIME_DIR to a short path of a directory of yours",
        cause: error,
      });
    }
  }
}

function ownerOf(path: string): number | undefined {
  try {
    return lstatSync(path).uid;
  } catch {
    return undefined;
  }
}

/** Checks it, and makes it where it is missing. */
function prepare(base: string): string {
  if (!base.startsWith("/"))
    throw refuse(base, "is not an absolute path", "choose one for CAPSA_RUNTIME_DIR");
  if (Buffer.byteLength(base) > MAX_BASE) {
    const hint = "set CAPSA_RUNTIME_DIR to a shorter path";
    throw refuse(base, `is longer than ${MAX_BASE} bytes, which is too long for sockets in it`, hint);
  }
  try {
    mkdirSync(base, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw refuse(base, "cannot be made", "set CAPSA_RUNTIME_DIR to a directory of yours", cause);
  }
  const status = lstatSync(base);
  if (!status.isDirectory()) throw refuse(base, "is not a directory", "remove it, or set CAPSA_RUNTIME_DIR");
  if (status.uid !== process.geteuid?.() || (status.mode & 0o077) !== 0) {
    throw refuse(
      base,
      "is open to other users, or not yours",
      `\`chmod 700 ${base}\` if it is yours, or set CAPSA_RUNTIME_DIR`,
    );
  }
  return base;
}

/** Does `work`, which writes in the runtime directory. Throws {@link HostError} `RUNTIME_DIR` where that cannot be. */
export function writingIn<T>(directory: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof CapsaError || errorCode(cause) === undefined) throw cause;
    const hint = "make room there, or set CAPSA_RUNTIME_DIR to another directory of yours";
    throw refuse(directory, `cannot be written in: ${(cause as Error).message}`, hint, cause);
  }
}

/** The same of work that waits. */
export async function waitingIn<T>(directory: string, work: Promise<T>): Promise<T> {
  return work.catch((error) =>
    writingIn(directory, () => {
      throw error;
    }),
  );
}

function refuse(base: string, why: string, hint: string, cause?: unknown): HostError {
  return new HostError("RUNTIME_DIR", `the runtime directory ${base} ${why}`, { hint, cause });
}

/** The directory of logs of detached sandboxes that ended, `$XDG_STATE_HOME/capsa/ended`, which may not be there yet. */
export function archiveBase(): string {
  return join(stateBase(), "ended");
}

function stateBase(): string {
  return join(stateHome(), "capsa");
}

/** Remove the directory of a sandbox that has ended, whatever its VMM has put there. What cannot be removed is left. */
export function clearAway(directory: string): void {
  try {
    removeTree(directory);
  } catch {
    // another process is at it as well; or it takes more rights than this user has
  }
}

/**
 * Run `work`, which does not wait for anything, while no other process of this user is in here. Rejects with
 * {@link HostError} `RUNTIME_DIR` when another has held the lock for five seconds.
 */
export async function withLock<T>(base: string, work: () => T): Promise<T> {
  const fd = writingIn(base, () => openSync(join(base, ".lock"), "w", 0o600));
  try {
    const deadline = performance.now() + LOCK_PATIENCE_MS;
    while (!lockFile(fd)) {
      if (performance.now() > deadline) {
        throw refuse(base, "is locked by another process", `see who it is: \`fuser ${join(base, ".lock")}\``);
      }
      await Bun.sleep(5);
    }
    return work();
  } finally {
    closeSync(fd); // and with it goes the lock
  }
}

/**
 * The directory that is the VMM's to write, and a guest's that has taken it over: nobody believes what lies there, and
 * nobody follows a link in it. All else in the runtime directory is this side's alone.
 */
export function vmmDirectory(runtimeDir: string): string {
  return join(runtimeDir, "vmm");
}

/** The VMM binds it before it is confined, and cannot put another in its place. */
export function controlSocket(runtimeDir: string): string {
  return join(runtimeDir, "control.sock");
}

/** Of a guest's vsock port; the VMM listens there. */
export function guestSocket(runtimeDir: string, port: number): string {
  return join(vmmDirectory(runtimeDir), `${port}.sock`);
}

/** Of a host's vsock port; the VMM connects to it. */
export function hostSocket(runtimeDir: string, port: number): string {
  return join(vmmDirectory(runtimeDir), `host-${port}.sock`);
}

/** Of a host of the sandbox's secrets; none but the VMM connects to it. */
export function secretSocket(runtimeDir: string, index: number): string {
  return join(vmmDirectory(runtimeDir), `secret-${index}.sock`);
}

/** The VMM opens its logs before it is confined: it can write anything into them, and put nothing in their place. */
export const EVENTS_LOG = "events.log";
export const NETWORK_LOG = "network.log";
/** Of the proxy of the secrets. */
export const SECRETS_LOG = "secrets.log";
/** Bytes that a log may have, as ffi/vmm/build/config.h says it. */
export const LOG_LIMIT = 16 << 20;
