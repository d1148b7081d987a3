/** From differences to changes that somebody has to decide about: what is settled is left out, renames are found. */

import { ArgumentError, CapsaError } from "../errors/errors.ts";
import { shown } from "../errors/printable.ts";
import type { Change } from "./api.ts";
import { compare, type Delta, leaves, openAfter, openFile, sameBytes } from "./compare.ts";
import { enterAbove, enterIfThere, openLower } from "./layers.ts";
import { mayRun } from "./may_run.ts";
import { isWithin, shownName, shownPath } from "./names.ts";
import type { Renamed } from "./renamed.ts";
import { Settled } from "./settled.ts";
import type { Side } from "./side.ts";
import { openStaging, type Staging } from "./staging.ts";
import { Turns } from "./turns.ts";

/** A change, and the differences it is made of: a rename's are that of its new name and that of its old one. */
export interface Found {
  readonly change: Change;
  readonly deltas: readonly [Delta, ...Delta[]];
}

interface Collected {
  /** In the order of the paths. */
  readonly found: readonly Found[];
  /** All directories that the guest has renamed, as far as its layer can be read. */
  readonly renamed: readonly Renamed[];
}

/** On one walk; nothing once the last of them has been settled, and all is dropped. Throws `HostFileError`. */
export async function collect(staging: Staging): Promise<Collected> {
  if (openStaging(staging.record.id) === undefined) return { found: [], renamed: [] };
  const settled = new Settled(staging);
  const turns = new Turns();
  const deltas: Delta[] = [];
  const renamed: Renamed[] = [];
  for (const delta of walk(staging, settled, (one) => renamed.push(one))) {
    deltas.push(delta);
    await turns.take();
  }
  const found = renames(staging, deltas).map((pair) => ({ deltas: pair, change: describe(pair, settled) }));
  return { found, renamed };
}

/** Whether there is any: it looks no further than to the first. Throws `HostFileError`. */
export function hasChanges(staging: Staging): boolean {
  for (const _first of walk(staging, new Settled(staging))) return true;
  return false;
}

function walk(staging: Staging, settled: Settled, onRenamed?: (renamed: Renamed) => void): Generator<Delta> {
  const deltas = compare(staging, {
    isSettled: (share, path, after) => settled.has({ share, path }, after),
    ...(onRenamed === undefined ? {} : { onRenamed }),
  });
  return withoutPlaces(deltas);
}

/** Places of other shares are made for these, not by programs of the guest: with nothing else in them they are no changes. */
function* withoutPlaces(deltas: Iterable<Delta>): Generator<Delta> {
  let held: Delta[] = [];
  for (const delta of deltas) {
    const name = delta.path.join("/");
    if (delta.kind === "created" && delta.share.places?.some((place) => isBelow(place, name))) {
      held.push(delta);
      continue;
    }
    const isNeeded = ({ share, path }: Delta) => share === delta.share && isBelow(name, path.join("/"));
    yield* held.filter(isNeeded); // directories come before what is in them
    held = held.filter((one) => !isNeeded(one));
    yield delta;
  }
}

const isBelow = (path: string, above: string) => `${path}/`.startsWith(`${above}/`);

/**
 * Those at or below the paths, and the new directories that these are in; all without a list, none of an empty one. Throws
 * `CapsaError` `NO_SUCH_CHANGE` where a path has none.
 */
export function choose(found: readonly Found[], paths: readonly string[] | undefined): Found[] {
  if (paths === undefined) return [...found];
  if (!Array.isArray(paths))
    throw new ArgumentError(`paths should be a list, such as ["/project/src"], not ${shown(paths)}`);
  const isAt = ({ change }: Found, path: string) =>
    isWithin(change.path, path) || (change.from !== undefined && isWithin(change.from, path));
  const missed = paths.find((path) => !found.some((one) => isAt(one, path)));
  if (missed !== undefined) {
    throw new CapsaError("NO_SUCH_CHANGE", `nothing has changed at ${missed}`, {
      hint: "give absolute paths of the guest, as `capsa diff` shows them",
    });
  }
  const chosen = found.filter((one) => paths.some((path) => isAt(one, path)));
  const needed = ({ change }: Found) =>
    change.type === "directory" &&
    (change.kind === "created" || change.kind === "type") &&
    chosen.some((one) => isWithin(one.change.path, change.path));
  return found.filter((one) => chosen.includes(one) || needed(one));
}

/** A deleted file and a new one with the same contents are one that has got another name, as far as anybody can tell. */
function renames(staging: Staging, deltas: readonly Delta[]): [Delta, ...Delta[]][] {
  const gone = deltas.filter(
    ({ kind, before }) => kind === "deleted" && before?.type === "file" && before.size > 0,
  );
  const paired = new Map<Delta, Delta>();
  for (const made of deltas) {
    if (gone.length === 0) break;
    if (made.kind !== "created" || made.after?.type !== "file") continue;
    const at = gone.findIndex((one) => one.before!.size === made.after!.size && sameFile(staging, one, made));
    if (at !== -1) paired.set(made, gone.splice(at, 1)[0]!);
  }
  const olds = new Set(paired.values());
  return deltas
    .filter((delta) => !olds.has(delta))
    .map((delta) => {
      const old = paired.get(delta);
      return old === undefined ? [delta] : [delta, old];
    });
}

function sameFile({ directory }: Staging, old: Delta, made: Delta): boolean {
  try {
    using lower = openLower(old.share);
    using from = enterAbove(lower.place, old.path);
    using to = openAfter(directory, made);
    using one = openFile(from.place, old.path.at(-1)!);
    using other = openFile(to.place, to.name);
    return sameBytes(one.fd, other.fd);
  } catch {
    return false; // one has gone meanwhile, or cannot be read
  }
}

function describe([delta, old]: readonly [Delta, ...Delta[]], settled: Settled): Change {
  const { share, path, kind, before, after } = delta;
  const judged = judge(delta, settled);
  const conflict = judged.conflict ?? (old && judge(old, settled).conflict);
  const shown = after ?? before!;
  const reason = [delta, old].map(whyMayRun).find((one) => one !== undefined);
  return {
    kind: old === undefined ? kind : "renamed",
    path: shownPath(share, path),
    ...(old === undefined ? {} : { from: shownPath(old.share, old.path) }),
    type: shown.type as Change["type"],
    ...(kind === "type" ? { typeBefore: before!.type } : {}),
    ...(after === undefined ? {} : { size: sizeOf(after), mode: after.mode }),
    ...(before === undefined ? {} : { sizeBefore: judged.size, modeBefore: before.mode }),
    ...(old?.before === undefined ? {} : { modeBefore: old.before.mode }),
    ...(shown.target === undefined ? {} : { target: shownName(shown.target) }),
    ...(reason === undefined ? {} : { mayRun: reason }),
    ...(conflict === undefined ? {} : { conflict }),
  };
}

/**
 * A directory says nothing by being there: what is in it is told by itself, but for one that is gone. A link in the place of
 * one leads to files that have other names there, which say nothing.
 */
function whyMayRun(delta: Delta | undefined): string | undefined {
  if (delta === undefined || delta.after?.type === "directory") return undefined;
  const isWay = [delta.before, delta.after].some((side) => side !== undefined && side.type !== "file");
  return mayRun(delta.path, delta.share.protect, isWay);
}

function sizeOf(side: Side): number {
  return side.type === "directory" ? 0 : side.size;
}

/** Of what the shared directory has there: bytes, and why the guest's side must not take its place as it is. */
function judge(delta: Delta, settled: Settled): { size: number; conflict: string | undefined } {
  const { share, path, before, after, obstacle } = delta;
  if (before === undefined) return { size: 0, conflict: obstacle };
  if (before.type !== "directory") {
    const isForeign = settled.isForeign(delta, before);
    const conflict = isForeign ? "this machine has changed it since the sandbox started" : undefined;
    return { size: before.size, conflict: obstacle ?? conflict };
  }
  let size = 0;
  let conflict = obstacle;
  if (after?.type === "directory") return { size, conflict };
  for (const { path: inner, side } of below(share, path)) {
    if (side.type === "file") size += side.size;
    if (conflict === undefined && settled.isForeign({ share, path: inner }, side))
      conflict = `this machine has changed ${shownPath(share, inner)} since the sandbox started`;
  }
  return { size, conflict };
}

/** What is in a directory of the share that the guest has removed. */
export function* below(share: Delta["share"], path: readonly Buffer[]) {
  using lower = openLower(share);
  const place = enterIfThere(lower.place, ...path);
  if (place === undefined) return;
  try {
    yield* leaves(place, path);
  } finally {
    place.close();
  }
}
