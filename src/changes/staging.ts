/**
 * Where changes are kept until somebody applies or discards them: a directory a sandbox, in the user's state directory.
 *
 *     record.json    whose they are, and which shares have some
 *     N/upper        the layer over share N, as an overlay's upper one; N/work is the VMM's own (ffi/virtio/fs/union.c)
 *     applied-N      what of that has been applied; N/applied is the VMM's copy
 *     settled.json   what of them has been applied or discarded
 *     apply.json     an apply that is under way
 */

import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { HostError, SpecError } from "../errors/errors.ts";
import { errorCode } from "../host/file_errors.ts";
import { writeWhole } from "../host/files.ts";
import { statusOf } from "../host/hold.ts";
import { stateHome } from "../host/homes.ts";
import { lastingIdentity } from "../host/identity.ts";
import { lockFile, makeWhiteout, renameOut, setAttribute } from "../host/libc.ts";
import { removeTree } from "../host/place.ts";
import { identify, isAlive, type ProcessIdentity } from "../host/process.ts";
import { outerOf, placeIn } from "../spec/shares.ts";
import type { ShareSpec } from "../spec/spec.ts";

/** A share whose changes are staged. */
export interface StagedShare {
  /** Its number among the sandbox's shares. */
  readonly index: number;
  /** Absolute paths. */
  readonly host: string;
  /** Of the directory there, lasting; none in what older versions have staged. */
  readonly identity?: string;
  readonly guest: string;
  /** The files have the owners that the guest gave them, not the user's. */
  readonly owned: boolean;
  /** Paths below it that somebody wants to stay as they are. */
  readonly protect?: readonly string[];
  /** Paths below it at which other shares are. */
  readonly places?: readonly string[];
}

interface StagingRecord {
  readonly version: 1;
  /** Of the sandbox. */
  readonly id: string;
  readonly name: string;
  /** There as long as it runs. */
  readonly runtimeDir: string;
  /** ISO 8601. */
  readonly created: string;
  /**
   * The file system's clock before the sandbox started, nanoseconds since 1970: what the host changed in a share later has
   * a later change time (ctime), which no program can set.
   */
  readonly since: string;
  readonly shares: readonly StagedShare[];
  /** They outlive the sandbox. */
  readonly keep: boolean;
  /** Who started it: with them go changes that are not to be kept. */
  readonly owner: ProcessIdentity;
}

/** Of a sandbox that is about to start. */
export interface SandboxPlace {
  readonly id: string;
  readonly runtimeDir: string;
}

export interface Staging {
  readonly directory: string;
  readonly record: StagingRecord;
}

const RECORD = "record.json";
const LOCK = "lock";
const LOCK_POLL_MS = 20;

/** `$XDG_STATE_HOME/capsa/changes`. */
function changesBase(): string {
  return join(stateHome(), "capsa", "changes");
}

/** Of sandboxes whose changes are kept, or were half dropped. */
function ids(): string[] {
  try {
    return readdirSync(changesBase());
  } catch (error) {
    if (errorCode(error) === "ENOENT") return [];
    throw unusable(error);
  }
}

/** No error of the file system's that has no hint: the place is the user's to choose. */
function unusable(error: unknown): HostError {
  return new HostError(
    "STAGING_UNSUPPORTED",
    `changes cannot be kept in ${changesBase()}: ${(error as Error).message}`,
    {
      hint: "set XDG_STATE_HOME to a directory of yours",
      cause: error,
    },
  );
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw unusable(error);
  }
}

/**
 * A place for the changes of a sandbox that is about to start, of its transactional shares. Throws
 * {@link HostError} `STAGING_UNSUPPORTED` where there can be no directory, or no layer of changes in it, and
 * {@link SpecError} where a share holds the place itself.
 */
export function createStaging(
  { id, runtimeDir }: SandboxPlace,
  name: string,
  shares: readonly ShareSpec[],
  keep: boolean,
): Staging {
  const staged = shares.flatMap((share, index): StagedShare[] => {
    const { mode, host, guest, ownership, protect = [] } = share;
    if (mode !== "transaction") return [];
    const inner = shares.filter((other) => outerOf(other, shares) === share);
    return [
      {
        index,
        host,
        identity: lastingIdentity(statusOf(host)),
        guest,
        owned: ownership.mode !== "root",
        protect,
        places: inner.map((other) => placeIn(other, share).join("/")),
      },
    ];
  });
  sweepStagings();
  const base = changesBase();
  for (const { host, index } of staged) {
    if (base === host || base.startsWith(host === "/" ? host : `${host}/`)) {
      throw new SpecError(
        ["shares", index, "host"],
        `changes to ${host} would be kept inside it, in ${base}`,
        {
          hint: "share a smaller directory, or set XDG_STATE_HOME to one outside of it",
        },
      );
    }
  }
  const directory = join(base, id);
  makeDirectory(directory);
  try {
    probe(directory);
    for (const share of staged) makeLayer(join(directory, String(share.index)), share);
    const record: StagingRecord = {
      version: 1,
      id,
      name,
      runtimeDir,
      created: new Date().toISOString(),
      since: String(statSync(join(directory, String(staged[0]!.index)), { bigint: true }).ctimeNs),
      shares: staged,
      keep,
      owner: identify(process.pid) ?? { pid: process.pid, start: "" },
    };
    write(directory, record);
    return { directory, record };
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

/** Where changes would be kept. Throws as {@link createStaging} does. */
export function checkStaging(): string {
  const base = changesBase();
  makeDirectory(base);
  const directory = mkdtempSync(join(base, "check-"));
  try {
    probe(directory);
  } finally {
    removeTree(directory);
  }
  return base;
}

/** The guest sees the layer's directory as the share's: it begins as one like it. */
function makeLayer(layer: string, { host, owned }: StagedShare): void {
  for (const part of ["upper", "work"]) mkdirSync(join(layer, part), { recursive: true });
  const { mode, uid, gid } = statusOf(host);
  chmodSync(join(layer, "upper"), Number(mode) & 0o7777);
  if (owned && process.geteuid?.() === 0) chownSync(join(layer, "upper"), Number(uid), Number(gid));
}

/** What the VMM asks of a layer. */
function probe(directory: string): void {
  const [one, other] = [join(directory, "one"), join(directory, "other")];
  writeFileSync(one, "");
  const lacks = !setAttribute(one, "user.overlay.capsa", "y")
    ? "extended attributes of users"
    : !makeWhiteout(other)
      ? "overlays' whiteouts"
      : !renameOut(one, other)
        ? "renames that leave a whiteout"
        : undefined;
  rmSync(one, { force: true });
  rmSync(other, { force: true });
  if (lacks === undefined) return;
  throw new HostError("STAGING_UNSUPPORTED", `changes cannot be kept in ${directory}: no ${lacks} there`, {
    hint: "set XDG_STATE_HOME to a directory on ext4, xfs, btrfs or, since Linux 6.6, tmpfs",
  });
}

/** The place of a sandbox's changes, while there is one. */
export function openStaging(id: string): Staging | undefined {
  const directory = join(changesBase(), id);
  try {
    const record = JSON.parse(readFileSync(join(directory, RECORD), "utf8"));
    return record?.version === 1 ? { directory, record } : undefined;
  } catch {
    return undefined;
  }
}

/** All there are, the newest first. */
export function stagings(): Staging[] {
  return ids()
    .flatMap((id) => openStaging(id) ?? [])
    .sort((one, other) => other.record.created.localeCompare(one.record.created));
}

/** From now on the changes outlive the sandbox. */
export function keepStaging({ directory, record }: Staging): Staging {
  const kept = { ...record, keep: true };
  write(directory, kept);
  return { directory, record: kept };
}

export function dropStaging({ directory }: Staging): void {
  rmSync(join(directory, RECORD), { force: true }); // whatever becomes of the rest, nobody finds it any more
  removeTree(directory);
}

/** Drop what nobody wants any more: of starters that are dead, what was not to be kept, and what was half dropped. */
function sweepStagings(): void {
  const base = changesBase();
  for (const id of ids()) {
    const staging = openStaging(id);
    if (
      staging === undefined ? isOld(join(base, id)) : !staging.record.keep && !isAlive(staging.record.owner)
    )
      removeTree(join(base, id));
  }
}

function isOld(directory: string): boolean {
  const status = statSync(directory, { throwIfNoEntry: false });
  return status !== undefined && Date.now() - status.mtimeMs > 60_000;
}

function write(directory: string, record: StagingRecord): void {
  writeWhole(join(directory, RECORD), record, { flush: true });
}

/**
 * Waits until no other process is at work on these changes; it ends with the scope, and with this process. Nobody is where they
 * have been dropped.
 */
export async function lockStaging({ directory }: Staging): Promise<Disposable> {
  let fd: number;
  try {
    fd = openSync(join(directory, LOCK), "w", 0o600);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return { [Symbol.dispose]: () => {} };
    throw error;
  }
  while (!lockFile(fd)) await Bun.sleep(LOCK_POLL_MS);
  return { [Symbol.dispose]: () => closeSync(fd) };
}
