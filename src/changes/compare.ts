/**
 * What a guest has changed in a share: the layer that the VMM keeps compared with the directory below, entry by entry. A guest
 * that has taken over its VMM may have put anything there, so it is read as bytes of a stranger: names one at a time through
 * open directories, no link followed, nothing opened but files and directories.
 */

import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { Place } from "../agent/tree/place.ts";
import { TREE_DEPTH } from "../agent/tree/record.ts";
import { HostFileError } from "../errors.ts";
import { errorCode } from "../host/errors.ts";
import { lastingIdentity } from "../host/identity.ts";
import { identity, look, type Side, sideOf } from "./side.ts";
import type { StagedShare, Staging } from "./staging.ts";
import { attribute } from "./system.ts";

const HERE = Buffer.from(".");
const CHUNK = 1 << 16;
/** A fifo that a guest puts in a file's place is not waited for. */
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** One difference between a shared directory and what the guest has made of it. */
export interface Delta {
  readonly share: StagedShare;
  /** Names below the share's directory; none for that itself. */
  readonly path: readonly Buffer[];
  readonly kind: "created" | "modified" | "deleted" | "type" | "mode";
  readonly before?: Side;
  readonly after?: Side;
  /** Why what the guest has there cannot be taken over. */
  readonly obstacle?: string;
}

/** Whether something is known to be no change any more: contents that are large need not be compared then. */
export type IsSettled = (share: StagedShare, path: readonly Buffer[], after: Side | undefined) => boolean;

interface Pair {
  readonly upper: Place | undefined;
  readonly lower: Place | undefined;
  readonly share: StagedShare;
  readonly path: readonly Buffer[];
  /** Nothing of the lower one shows through. */
  readonly opaque: boolean;
  readonly isSettled: IsSettled;
}

/** Directories before what is in them, names in the order of their bytes. Throws `HostFileError`. */
export function* compare({ directory, record }: Staging, isSettled: IsSettled): Generator<Delta> {
  for (const share of record.shares) {
    using upper = openUpper(directory, share);
    using lower = openLower(share);
    yield* compareShare(share, upper.place, lower.place, isSettled);
  }
}

/** The layer that has what the guest wrote; a VMM that it has taken over may have put something else there. */
export function openUpper(directory: string, share: StagedShare): Opened {
  return opened(join(directory, String(share.index), "upper"));
}

/** The shared directory that the sandbox was started with, and no other. */
export function openLower({ host, identity }: StagedShare): Opened {
  const place = Place.at(host);
  if (identity === undefined || lastingIdentity(fstatSync(place.fd, { bigint: true })) === identity)
    return { place, [Symbol.dispose]: () => place.close() };
  place.close();
  throw new HostFileError(
    "SHARE_REPLACED",
    host,
    "it is another directory than the sandbox was started with",
    {
      hint: "put that one back; or give the changes up with `capsa discard`, once the sandbox has ended",
    },
  );
}

/** A directory that is closed with the scope that uses it. */
interface Opened extends Disposable {
  readonly place: Place;
}

function opened(path: string): Opened {
  const { place: above, name } = Place.above(path);
  try {
    const place = above.enter(name);
    return { place, [Symbol.dispose]: () => place.close() };
  } finally {
    above.close();
  }
}

function* compareShare(
  share: StagedShare,
  upper: Place,
  lower: Place,
  isSettled: IsSettled,
): Generator<Delta> {
  const before = sideOf(fstatSync(lower.fd, { bigint: true }));
  const after = sideOf(fstatSync(upper.fd, { bigint: true }));
  if (before.mode !== after.mode && !isSettled(share, [], after))
    yield { share, path: [], kind: "mode", before, after };
  yield* compareIn({ share, upper, lower, path: [], opaque: isOpaque(upper), isSettled });
}

function* compareIn(pair: Pair): Generator<Delta> {
  const { share, upper, lower, opaque, isSettled } = pair;
  const names = upper === undefined ? [] : namesIn(upper);
  const hidden = opaque && lower !== undefined ? namesIn(lower) : [];
  for (const name of merge(names, hidden)) {
    const path = [...pair.path, name];
    const before = lower === undefined ? undefined : look(lower, name);
    const there = upper === undefined ? undefined : look(upper, name);
    if (there === undefined && !opaque) continue; // gone meanwhile
    // Fifos and sockets are the guest's own affair; that they have taken a file's place is not
    const after = there === undefined || there.whiteout || there.type === "special" ? undefined : there;
    if (after?.type === "directory") {
      yield* compareDirectory(pair, path, before, after);
    } else if (!isSettled(share, path, after)) {
      const kind = difference(pair, name, before, after);
      const sides = {
        ...(before === undefined ? {} : { before }),
        ...(after === undefined ? {} : { after }),
      };
      if (kind !== undefined) yield { share, path, kind, ...sides };
    }
  }
}

function* compareDirectory(
  { share, upper, lower, isSettled }: Pair,
  path: readonly Buffer[],
  before: Side | undefined,
  after: Side,
): Generator<Delta> {
  const name = path.at(-1)!;
  const merged = before?.type === "directory";
  const inner = enterUpper(upper!, name, path.length);
  const obstacle = typeof inner === "string" ? { obstacle: inner } : {};
  if (isSettled(share, path, after)) {
    // what is in it may be changes all the same
  } else if (!merged) {
    const kind = before === undefined ? "created" : "type";
    yield { share, path, kind, ...(before === undefined ? {} : { before }), after, ...obstacle };
  } else if (before.mode !== after.mode || typeof inner === "string") {
    yield { share, path, kind: "mode", before, after, ...obstacle };
  }
  if (typeof inner === "string") return;
  const below = merged ? lower!.enter(name) : undefined;
  try {
    yield* compareIn({
      share,
      upper: inner,
      lower: below,
      path,
      opaque: merged && isOpaque(inner),
      isSettled,
    });
  } finally {
    inner.close();
    below?.close();
  }
}

/** Or why not: it is the guest's, and no reason to leave the rest unread. */
function enterUpper(upper: Place, name: Buffer, depth: number): Place | string {
  if (depth >= TREE_DEPTH) return `it is nested deeper than ${TREE_DEPTH} directories`;
  try {
    return upper.enter(name);
  } catch (error) {
    return why(error);
  }
}

/** How what is no directory differs; undefined where it does not. */
function difference(
  pair: Pair,
  name: Buffer,
  before: Side | undefined,
  after: Side | undefined,
): Delta["kind"] | undefined {
  if (before === undefined) return after === undefined ? undefined : "created";
  if (after === undefined) return "deleted";
  if (before.type !== after.type) return "type";
  if (after.type === "symlink") return after.target!.equals(before.target!) ? undefined : "modified";
  if (!sameContents(pair.lower!, before, pair.upper!, after, name)) return "modified";
  return before.mode === after.mode ? undefined : "mode";
}

function sameContents(lower: Place, before: Side, upper: Place, after: Side, name: Buffer): boolean {
  if (before.size !== after.size) return false;
  try {
    using one = openFile(upper, name);
    using other = openFile(lower, name);
    return sameBytes(one.fd, other.fd);
  } catch {
    return false; // one that cannot be read has to be looked at
  }
}

/** A regular file open for reading, whatever took its name meanwhile. Throws `HostFileError`. */
export function openFile(place: Place, name: Buffer): { readonly fd: number } & Disposable {
  return place.try(name, (path) => {
    const fd = openSync(path, READ);
    if (fstatSync(fd).isFile()) return { fd, [Symbol.dispose]: () => closeSync(fd) };
    closeSync(fd);
    throw Object.assign(new Error("EINVAL: it is no regular file any more"), { code: "EINVAL" });
  });
}

export function sameBytes(one: number, other: number): boolean {
  const [a, b] = [Buffer.allocUnsafe(CHUNK), Buffer.allocUnsafe(CHUNK)];
  for (let at = 0; ; at += CHUNK) {
    const read = fill(one, a, at);
    if (read !== fill(other, b, at) || a.compare(b, 0, read, 0, read) !== 0) return false;
    if (read < CHUNK) return true;
  }
}

/** Read until the buffer is full or the file ends; gives the bytes read. */
export function fill(fd: number, buffer: Buffer, position: number): number {
  let length = 0;
  while (length < buffer.length) {
    const read = readSync(fd, buffer, length, buffer.length - length, position + length);
    if (read === 0) break;
    length += read;
  }
  return length;
}

/** The files and links below a directory of the host, with their paths below it. */
export function* leaves(
  place: Place,
  above: readonly Buffer[] = [],
): Generator<{ path: readonly Buffer[]; side: Side }> {
  for (const name of namesIn(place)) {
    const side = look(place, name);
    if (side === undefined) continue;
    const path = [...above, name];
    if (side.type !== "directory") {
      yield { path, side };
      continue;
    }
    const inner = place.enter(name);
    try {
      yield* leaves(inner, path);
    } finally {
      inner.close();
    }
  }
}

/** The directory that holds the entry, entered name by name. Throws `HostFileError`. */
export function enterAbove(top: Place, path: readonly Buffer[]): Opened {
  let place = top;
  try {
    for (const name of path.slice(0, -1)) {
      const inner = place.enter(name);
      if (place !== top) place.close();
      place = inner;
    }
  } catch (error) {
    if (place !== top) place.close();
    throw error;
  }
  return { place, [Symbol.dispose]: () => place !== top && place.close() };
}

/** Why an error of the system happened, in its words. */
export function why(error: unknown): string {
  const code = errorCode(error);
  if (code === undefined) throw error;
  return (error as Error).message;
}

/** Whether what is at the entry now is what was seen there. */
export function isStill(place: Place, name: Buffer, side: Side | undefined): boolean {
  return identity(look(place, name)) === identity(side);
}

function isOpaque(upper: Place): boolean {
  return attribute(`/proc/self/fd/${upper.fd}`, "user.overlay.opaque") === "y";
}

function namesIn(place: Place): Buffer[] {
  const names = place.try(HERE, (path) => readdirSync(path, { encoding: "buffer" }));
  return names.sort(Buffer.compare);
}

function merge(one: readonly Buffer[], other: readonly Buffer[]): Buffer[] {
  if (other.length === 0) return [...one];
  const all = new Map([...one, ...other].map((name) => [name.toString("latin1"), name]));
  return [...all.values()].sort(Buffer.compare);
}
