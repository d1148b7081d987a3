/** Taking changes over into the shared directories, or dropping them. */

import type { Place } from "../host/place.ts";
import { alone } from "./alone.ts";
import type { ApplyOptions } from "./api.ts";
import { noteApplied } from "./applied.ts";
import { choose, collect, type Found } from "./collect.ts";
import { type Delta, why } from "./compare.ts";
import {
  dropJournal,
  type Entry,
  isAt,
  journalOf,
  pathOf,
  readJournal,
  readMade,
  writeJournal,
} from "./journal.ts";
import { enterAbove, isMissing, openLower, openUpper } from "./layers.ts";
import type { Renamed } from "./renamed.ts";
import { Settled } from "./settled.ts";
import { identity, look, type Side } from "./side.ts";
import { Sources } from "./sources.ts";
import type { StagedShare, Staging } from "./staging.ts";
import { type Guard, type Observer, Refusal, take, tidy } from "./take.ts";
import { Turns } from "./turns.ts";

interface Taken {
  readonly applied: readonly Found[];
  readonly refused: readonly Found[];
  /** None is left. */
  readonly all: boolean;
}

const nobody: Observer = () => {};

/**
 * Make the chosen changes in the shared directories. A process that dies in between leaves a journal, and whoever applies,
 * discards or lists next finishes what it was about; until then both sides are whole. Throws what `choose` throws.
 */
export async function apply(
  staging: Staging,
  paths: readonly string[] | undefined,
  { force = false }: ApplyOptions,
  observe: Observer = nobody,
): Promise<Taken> {
  using _alone = await alone(staging);
  await finish(staging, observe);
  const { found, renamed } = await collect(staging);
  const chosen = choose(found, paths);
  const blocked = ({ change, deltas }: Found) =>
    force ? deltas.some(({ obstacle }) => obstacle !== undefined) : change.conflict !== undefined;
  const refused = chosen.filter(blocked);
  const wanted = chosen.filter((found) => !refused.includes(found));
  const { done, failed } = await carryOut(
    staging,
    wanted.flatMap(({ deltas }) => deltas),
    { deltas: found.flatMap(({ deltas }) => deltas), renamed },
    force,
    observe,
  );
  const applied = wanted.filter(({ deltas }) => deltas.every((delta) => done.has(delta)));
  const failures = wanted.flatMap((one) => {
    const reason = one.deltas.map((delta) => failed.get(delta)).find((why) => why !== undefined);
    return reason === undefined ? [] : [{ ...one, change: { ...one.change, conflict: reason } }];
  });
  return { applied, refused: [...refused, ...failures], all: applied.length === found.length };
}

/** Have the chosen changes be none any more. Throws what `choose` throws. */
export async function discard(
  staging: Staging,
  paths: readonly string[] | undefined,
): Promise<{ discarded: readonly Found[]; all: boolean }> {
  using _alone = await alone(staging);
  await finish(staging);
  const { found } = await collect(staging);
  const discarded = choose(found, paths);
  const settled = new Settled(staging);
  for (const { deltas } of discarded) for (const delta of deltas) settled.add(delta, delta.before);
  if (discarded.length > 0) settled.write();
  return { discarded, all: discarded.length === found.length };
}

/** Complete an apply whose process died in the middle. */
export async function recover(staging: Staging): Promise<void> {
  if (readJournal(staging) === undefined) return;
  using _alone = await alone(staging);
  await finish(staging);
}

interface Outcome {
  /** With what the shared directory has there now. */
  readonly done: ReadonlyMap<Delta, Side | undefined>;
  readonly failed: ReadonlyMap<Delta, string>;
}

async function carryOut(
  staging: Staging,
  chosen: readonly Delta[],
  all: { readonly deltas: readonly Delta[]; readonly renamed: readonly Renamed[] },
  force: boolean,
  observe: Observer,
): Promise<Outcome> {
  const done = new Map<Delta, Side | undefined>();
  const failed = new Map<Delta, string>();
  if (chosen.length === 0) return { done, failed };
  const sources = new Sources(staging, all.renamed, all.deltas);
  const deltas = sources.ordered(chosen);
  const journal = journalOf(deltas);
  writeJournal(staging, journal);
  observe("journal");
  const settled = new Settled(staging);
  const turns = new Turns();
  for (const [serial, delta] of deltas.entries()) {
    try {
      const isForeign: Guard = (path, side) =>
        !force && settled.isForeign({ share: delta.share, path }, side);
      sources.release(delta);
      const now = take(staging, delta, journal.entries[serial]!, isForeign, observe);
      settled.add(delta, now);
      sources.done(delta);
      done.set(delta, now);
    } catch (error) {
      failed.set(delta, error instanceof Refusal ? error.message : why(error));
    }
    await turns.take();
  }
  settled.write();
  noteApplied(staging, [...done]);
  observe("settled");
  dropJournal(staging);
  return { done, failed };
}

/** What this machine has changed since the process died stays a change, to be decided on. */
async function finish(staging: Staging, observe: Observer = nobody): Promise<void> {
  const journal = readJournal(staging);
  if (journal === undefined) return;
  const made = readMade(staging);
  for (const entry of journal.entries) tidyEntry(staging, entry, made.get(entry.aside));
  const { found, renamed } = await collect(staging);
  const open = found.flatMap(({ deltas }) => deltas);
  const wanted = open.filter((delta) =>
    journal.entries.some((entry) => isAt(entry, delta) && entry.before === identity(delta.before)),
  );
  await carryOut(staging, wanted, { deltas: open, renamed }, false, observe);
  markDone(staging, journal.entries, open);
  dropJournal(staging);
}

function tidyEntry(staging: Staging, entry: Entry, made: string | undefined): void {
  at(staging, entry, (lower, name) => tidy(lower, name, entry, made));
}

/** What was done before the process died is none of this machine's own changes. */
function markDone(staging: Staging, entries: readonly Entry[], open: readonly Delta[]): void {
  const settled = new Settled(staging);
  const done: [Delta, Side | undefined][] = [];
  for (const entry of entries.filter((one) => !open.some((delta) => isAt(one, delta)))) {
    at(staging, entry, (lower, name, share) => {
      const path = pathOf(entry);
      using upper = openUpper(staging.directory, share);
      using above = enterAbove(upper.place, path);
      const after = look(above.place, name);
      const shown = after === undefined ? {} : after.whiteout ? { instead: after } : { after };
      const delta: Delta = { share, path, kind: "modified", ...shown };
      const now = look(lower, name);
      settled.add(delta, now);
      done.push([delta, now]);
    });
  }
  settled.write();
  noteApplied(staging, done);
}

/** Runs `work` in the directory of the share that holds the entry, while there is one. */
function at(
  { record }: Staging,
  entry: Entry,
  work: (lower: Place, name: Buffer, share: StagedShare) => void,
): void {
  const share = record.shares.find(({ index }) => index === entry.index);
  const path = pathOf(entry);
  if (share === undefined || path.length === 0) return;
  try {
    using lower = openLower(share);
    using above = enterAbove(lower.place, path);
    work(above.place, path.at(-1)!, share);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}
