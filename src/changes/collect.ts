/** From differences to changes that somebody has to decide about: what is settled is left out, renames are found. */

import type { Change } from "./api.ts";
import { compare, type Delta, leaves, openAfter, openFile, sameBytes } from "./compare.ts";
import { enterAbove, enterIfThere, openLower } from "./layers.ts";
import { mayRun } from "./may_run.ts";
import { isWithin, shownName, shownPath } from "./names.ts";
import { Settled } from "./settled.ts";
import type { Side } from "./side.ts";
import type { Staging } from "./staging.ts";
import { Turns } from "./turns.ts";

/** A change, and the differences it is made of: a rename's are that of its new name and that of its old one. */
export interface Found {
  readonly change: Change;
  readonly deltas: readonly [Delta, ...Delta[]];
}

/** In the order of the paths. Throws `HostFileError`. */
export async function collect(staging: Staging): Promise<Found[]> {
  const settled = new Settled(staging);
  const turns = new Turns();
  const deltas: Delta[] = [];
  for (const delta of compare(staging, (share, path, after) => settled.has({ share, path }, after))) {
    deltas.push(delta);
    await turns.take();
  }
  return renames(staging, deltas).map((pair) => ({ deltas: pair, change: describe(pair, settled) }));
}

/** Those at or below the paths, and the new directories that these are in; all without a list, none of an empty one. */
export function choose(found: readonly Found[], paths: readonly string[] | undefined): Found[] {
  if (paths === undefined) return [...found];
  const named = (path: string | undefined) => path !== undefined && paths.some((one) => isWithin(path, one));
  const chosen = found.filter(({ change }) => named(change.path) || named(change.from));
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
  const conflict = conflictOf(delta, settled) ?? (old === undefined ? undefined : conflictOf(old, settled));
  const shown = after ?? before!;
  const reason = [delta, old].map(whyMayRun).find((one) => one !== undefined);
  return {
    kind: old === undefined ? kind : "renamed",
    path: shownPath(share, path),
    ...(old === undefined ? {} : { from: shownPath(old.share, old.path) }),
    type: shown.type as Change["type"],
    ...(kind === "type" ? { typeBefore: before!.type } : {}),
    ...(after === undefined ? {} : { size: sizeOf(after), mode: after.mode }),
    ...(before === undefined ? {} : { sizeBefore: sizeBefore(delta, before), modeBefore: before.mode }),
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

function sizeBefore({ share, path, after }: Delta, before: Side): number {
  if (before.type !== "directory") return before.size;
  if (after?.type === "directory") return 0;
  let size = 0;
  for (const { side } of below(share, path)) if (side.type === "file") size += side.size;
  return size;
}

/** Why it must not be applied as it is. */
export function conflictOf(delta: Delta, settled: Settled): string | undefined {
  const { share, path, before, after, obstacle } = delta;
  if (obstacle !== undefined) return obstacle;
  if (before === undefined) return undefined;
  if (before.type !== "directory") {
    if (!settled.isForeign(delta, before)) return undefined;
    return "this machine has changed it since the sandbox started";
  }
  if (after?.type === "directory") return undefined;
  for (const { path: inner, side } of below(share, path)) {
    if (settled.isForeign({ share, path: inner }, side))
      return `this machine has changed ${shownPath(share, inner)} since the sandbox started`;
  }
  return undefined;
}

/** What is in a directory of the share that the guest has removed. */
function* below(share: Delta["share"], path: readonly Buffer[]) {
  using lower = openLower(share);
  const place = enterIfThere(lower.place, ...path);
  if (place === undefined) return;
  try {
    yield* leaves(place, path);
  } finally {
    place.close();
  }
}
