/**
 * What a guest has changed in a share: the layer that the VMM keeps compared with the directory below, entry by entry. A guest
 * that has taken over its VMM may have put anything there, so it is read as bytes of a stranger: names one at a time through
 * open directories, no link followed, nothing opened but files and directories.
 */

import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { errorCode } from "../host/file_errors.ts";
import { attribute } from "../host/libc.ts";
import { type Place, TREE_DEPTH } from "../host/place.ts";
import { enterAbove, enterIfThere, isMissing, type Opened, openLower, openUpper } from "./layers.ts";
import { type Renamed, type Through, throughOf } from "./renamed.ts";
import { identity, look, type Side, sideOf } from "./side.ts";
import type { StagedShare, Staging } from "./staging.ts";

const HERE = Buffer.from(".");
const CHUNK = 1 << 16;
const TOO_DEEP = `it is nested deeper than ${TREE_DEPTH} directories`;
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
  /** Where the guest has nothing, what tells this from other times: what the layer has instead, or else what it hides. */
  readonly instead?: Side;
  /** Where in the shared directory that is yet, since the guest has renamed a directory above it. */
  readonly source?: readonly Buffer[];
  /** Why what the guest has there cannot be taken over. */
  readonly obstacle?: string;
}

/** What is asked, and what is found besides, on one walk through all shares. */
interface Walk {
  /** Whether it is known to be no change any more, by `after` or `instead`: large contents need not be compared then. */
  isSettled(share: StagedShare, path: readonly Buffer[], after: Side | undefined): boolean;
  /** A directory that the guest has renamed. */
  onRenamed?(renamed: Renamed): void;
}

interface Pair {
  readonly upper: Place | undefined;
  readonly lower: Place | undefined;
  readonly share: StagedShare;
  readonly path: readonly Buffer[];
  /** Nothing of the lower one shows through. */
  readonly opaque: boolean;
  /** But this does. */
  readonly through: Through | undefined;
  /** What directories of the share have shown through others so far: each does so once, or a stranger's marks had no end. */
  readonly shown: Set<string>;
  readonly walk: Walk;
}

/** Directories before what is in them, names in the order of their bytes. Throws `HostFileError`. */
export function* compare({ directory, record }: Staging, walk: Walk): Generator<Delta> {
  for (const share of record.shares) {
    using upper = openUpper(directory, share);
    using lower = openLower(share);
    yield* compareShare(share, upper.place, lower.place, walk);
  }
}

function* compareShare(share: StagedShare, upper: Place, lower: Place, walk: Walk): Generator<Delta> {
  const before = sideOf(fstatSync(lower.fd, { bigint: true }));
  const after = sideOf(fstatSync(upper.fd, { bigint: true }));
  if (before.mode !== after.mode && !walk.isSettled(share, [], after))
    yield { share, path: [], kind: "mode", before, after };
  const rest = { through: undefined, shown: new Set<string>(), walk };
  yield* compareIn({ share, upper, lower, path: [], opaque: isOpaque(upper), ...rest });
}

function* compareIn(pair: Pair): Generator<Delta> {
  const { share, upper, lower, opaque, through, walk } = pair;
  const names = [
    ...(upper === undefined ? [] : namesIn(upper)),
    ...(through === undefined ? [] : namesIn(through.place)),
    ...(opaque && lower !== undefined ? namesIn(lower) : []),
  ];
  for (const name of sorted(names)) {
    const path = [...pair.path, name];
    const before = lower === undefined ? undefined : look(lower, name);
    const own = upper === undefined ? undefined : look(upper, name);
    const there = own ?? (through && look(through.place, name));
    if (there === undefined && !opaque) continue; // gone meanwhile
    // Fifos and sockets are the guest's own affair; that they have taken a file's place is not
    const after = there === undefined || there.whiteout || there.type === "special" ? undefined : there;
    const source = own === undefined && after !== undefined ? { source: [...through!.path, name] } : {};
    if (after?.type === "directory") {
      yield* compareDirectory(pair, path, before, { after, ...source });
    } else if (!walk.isSettled(share, path, there ?? before)) {
      const kind = difference(pair, name, before, after);
      const sides = {
        ...(before === undefined ? {} : { before }),
        ...(after === undefined ? {} : { after }),
        ...(after === undefined ? { instead: there ?? before! } : {}),
        ...source,
      };
      if (kind !== undefined) yield { share, path, kind, ...sides };
    }
  }
}

function* compareDirectory(
  pair: Pair,
  path: readonly Buffer[],
  before: Side | undefined,
  seen: { readonly after: Side; readonly source?: readonly Buffer[] },
): Generator<Delta> {
  const { share, lower, shown, walk } = pair;
  const { after } = seen;
  const name = path.at(-1)!;
  const merged = before?.type === "directory";
  const inner = enterSeen(pair, path, seen.source !== undefined);
  if (inner === undefined) return; // gone meanwhile
  const obstacle = typeof inner === "string" ? { obstacle: inner } : {};
  const kind = merged ? "mode" : before === undefined ? "created" : "type";
  const differs = !merged || before.mode !== after.mode || typeof inner === "string";
  const own = {
    share,
    path,
    kind,
    ...(before === undefined ? {} : { before }),
    ...seen,
    ...obstacle,
  } as const;
  const settled = walk.isSettled(share, path, after);
  if (differs && !settled) yield own;
  if (typeof inner === "string") return;
  const below = merged ? enterIfThere(lower!, name) : undefined;
  try {
    const opaque =
      below !== undefined && (pair.opaque || inner.through !== undefined || isOpaque(inner.upper!));
    const changes = compareIn({ share, ...inner, lower: below, path, opaque, shown, walk });
    const first = changes.next();
    if (first.done) return;
    if (settled && !merged) yield own; // this machine has removed it since, and it takes a place for what is in it
    yield first.value;
    yield* changes;
  } finally {
    inner.upper?.close();
    inner.through?.place.close();
    below?.close();
  }
}

/** What the guest sees in a directory: what is in the layer, and what shows through that where it has renamed it. */
function enterSeen(
  { share, upper, through, shown, walk }: Pair,
  path: readonly Buffer[],
  elsewhere: boolean,
): Pick<Pair, "upper" | "through"> | string | undefined {
  const name = path.at(-1)!;
  const below = (): Through | undefined => {
    const place =
      through && look(through.place, name)?.type === "directory"
        ? enterIfThere(through.place, name)
        : undefined;
    return place && { place, path: [...through!.path, name] };
  };
  if (elsewhere) {
    if (path.length >= TREE_DEPTH) return TOO_DEEP;
    const inner = below();
    return inner && { upper: undefined, through: inner };
  }
  const inner = enterUpper(upper!, name, path.length);
  if (typeof inner !== "object") return inner;
  const from = throughOf(share, inner, shown);
  if (from !== undefined) walk.onRenamed?.({ share, path, from: from.path, mark: from.mark });
  return { upper: inner, through: from ?? (isOpaque(inner) ? undefined : below()) };
}

/** Or why not: it is the guest's, and no reason to leave the rest unread. */
function enterUpper(upper: Place, name: Buffer, depth: number): Place | string | undefined {
  if (depth >= TREE_DEPTH) return TOO_DEEP;
  try {
    return enterIfThere(upper, name);
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
  if (!sameContents(pair, before, after, name)) return "modified";
  return before.mode === after.mode ? undefined : "mode";
}

function sameContents({ upper, lower, through }: Pair, before: Side, after: Side, name: Buffer): boolean {
  if (before.size !== after.size) return false;
  try {
    const own = upper !== undefined && look(upper, name) !== undefined;
    using one = openFile(own ? upper : through!.place, name);
    using other = openFile(lower!, name);
    return sameBytes(one.fd, other.fd);
  } catch {
    return false; // one that cannot be read has to be looked at
  }
}

/** The directory with what the guest has there, and the name it has in it. */
export function openAfter(
  directory: string,
  { share, path, source }: Delta,
): Opened & { readonly name: Buffer } {
  const top = source === undefined ? openUpper(directory, share) : openLower(share);
  const at = source ?? path;
  try {
    const above = enterAbove(top.place, at);
    return {
      place: above.place,
      name: at.at(-1)!,
      [Symbol.dispose]: () => {
        above[Symbol.dispose]();
        top[Symbol.dispose]();
      },
    };
  } catch (error) {
    top[Symbol.dispose]();
    throw error;
  }
}

/** A regular file open for reading, whatever took its name meanwhile. Throws `HostFileError`. */
export function openFile(place: Place, name: Buffer): { readonly fd: number } & Disposable {
  return place.try(name, (path) => {
    const fd = openSync(path, READ);
    if (fstatSync(fd).isFile()) return { fd, [Symbol.dispose]: () => closeSync(fd) };
    closeSync(fd);
    throw Object.assign(new Error("EINVAL: it is not a regular file any more"), { code: "EINVAL" });
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
    const inner = enterIfThere(place, name);
    if (inner === undefined) continue;
    try {
      yield* leaves(inner, path);
    } finally {
      inner.close();
    }
  }
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

/** None in a directory that is gone by now. */
function namesIn(place: Place): Buffer[] {
  try {
    return place.try(HERE, (path) => readdirSync(path, { encoding: "buffer" })).sort(Buffer.compare);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** Each once. */
function sorted(names: readonly Buffer[]): Buffer[] {
  const all = new Map(names.map((name) => [name.toString("latin1"), name]));
  return [...all.values()].sort(Buffer.compare);
}
