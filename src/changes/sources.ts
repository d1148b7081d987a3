/**
 * Contents that are the guest's under another name, since it has renamed a directory, and that only the shared directory has:
 * they are taken over before anything changes where they are, and are the guest's by their new place from then on.
 */

import { type Delta, why } from "./compare.ts";
import { shownPath } from "./names.ts";
import { type Renamed, unmark } from "./renamed.ts";
import type { Staging } from "./staging.ts";
import { Refusal } from "./take.ts";

export class Sources {
  readonly #staging: Staging;
  /** By the paths they show through from. */
  readonly #from = new Map<string, Renamed[]>();
  /** The same, and by the path of each directory above. */
  readonly #within = new Map<string, Renamed[]>();
  /** What is yet to be taken over at their new places. */
  readonly #open = new Map<Renamed, Set<Delta>>();
  readonly #to = new Map<string, Renamed[]>();
  readonly #stuck = new Map<Renamed, boolean>();

  /** Of all changes, whether they are to be applied now or not. */
  constructor(staging: Staging, renamed: readonly Renamed[], deltas: readonly Delta[]) {
    this.#staging = staging;
    for (const one of renamed) {
      put(this.#from, key(one, one.from), one);
      for (const above of keys(one, one.from)) put(this.#within, above, one);
      put(this.#to, key(one, one.path), one);
      this.#open.set(one, new Set());
    }
    for (const delta of deltas) for (const one of this.#madeOf(delta)) this.#open.get(one)!.add(delta);
  }

  /** Before the change is made. Throws `Refusal` where the guest would not see any more what it has under another name. */
  release(change: Delta): void {
    for (const one of this.#shownBy(change)) {
      const to = shownPath(one.share, one.path);
      if (this.#open.get(one)!.size > 0) {
        const first = this.#isStuck(one)
          ? ", and this is in the way of that: rename one in the guest"
          : ": apply that";
        throw new Refusal(`what is in it is ${to} now${first} first`);
      }
      try {
        if (!unmark(this.#staging.directory, one))
          throw new Refusal(`what is in it is ${to} now, and the guest has just changed that`);
      } catch (error) {
        throw error instanceof Refusal ? error : new Refusal(`what is in it is ${to} now: ${why(error)}`);
      }
      this.#open.delete(one);
    }
  }

  /** It has been taken over. */
  done(delta: Delta): void {
    for (const one of this.#madeOf(delta)) this.#open.get(one)?.delete(delta);
  }

  /** Those last that change what shows elsewhere, with what is in them. */
  ordered(changes: readonly Delta[]): Delta[] {
    const left = new Map([...this.#open].map(([one, deltas]) => [one, deltas.size]));
    const ordered: Delta[] = [];
    for (let rest = [...changes]; rest.length > 0; ) {
      const late = new Set<string>();
      const waiting = rest.filter((change) => {
        const isLate =
          keys(change, change.path).some((above) => late.has(above)) ||
          this.#shownBy(change).some((one) => left.get(one)! > 0);
        if (isLate) {
          late.add(key(change, change.path));
          return true;
        }
        ordered.push(change);
        for (const one of this.#madeOf(change)) left.set(one, left.get(one)! - 1);
        return false;
      });
      if (waiting.length === rest.length) return [...ordered, ...rest]; // none of them can be made
      rest = waiting;
    }
    return ordered;
  }

  /** Through what the guest would see the change, too. */
  #shownBy(change: Delta): Renamed[] {
    const isLost = change.before !== undefined && change.kind !== "mode";
    const found = new Set(keys(change, change.path).flatMap((above) => this.#from.get(above) ?? []));
    if (isLost) for (const one of this.#within.get(key(change, change.path)) ?? []) found.add(one);
    return [...found].filter((one) => this.#open.has(one));
  }

  /** The renamed directories that the change is a part of. */
  #madeOf(change: Delta): Renamed[] {
    return keys(change, change.path).flatMap((above) => this.#to.get(above) ?? []);
  }

  #isStuck(one: Renamed): boolean {
    const stuck = this.#stuck.get(one) ?? this.#waitsFor(one, one);
    this.#stuck.set(one, stuck);
    return stuck;
  }

  /** Whether what is yet to be made of `one` has to wait until `last` is no more where it was. */
  #waitsFor(one: Renamed, last: Renamed, seen = new Set<Renamed>()): boolean {
    if (seen.has(one)) return false;
    seen.add(one);
    const next = new Set([...this.#open.get(one)!].flatMap((delta) => this.#shownBy(delta)));
    return next.has(last) || [...next].some((other) => this.#waitsFor(other, last, seen));
  }
}

function put(map: Map<string, Renamed[]>, at: string, one: Renamed): void {
  const there = map.get(at);
  if (there === undefined) map.set(at, [one]);
  else there.push(one);
}

/** Of the path, and of each directory above it. */
function keys(of: Pick<Delta, "share">, path: readonly Buffer[]): string[] {
  return path.map((_, length) => key(of, path.slice(0, length + 1)));
}

function key({ share }: Pick<Delta, "share">, path: readonly Buffer[]): string {
  return `${share.index}/${path.map((name) => name.toString("latin1")).join("/")}`;
}
