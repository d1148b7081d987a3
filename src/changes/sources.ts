/**
 * Contents that are the guest's under another name, since it has renamed a directory, and that only the shared directory has:
 * they are taken over before what they are in goes.
 */

import type { Delta } from "./compare.ts";

export class Sources {
  /** By the path of each directory they are in, and their own. */
  readonly #within = new Map<string, Set<Delta>>();

  /** Of all changes, whether they are to be applied now or not. */
  constructor(deltas: readonly Delta[]) {
    for (const delta of deltas) {
      for (const key of keys(delta)) {
        const within = this.#within.get(key);
        if (within === undefined) this.#within.set(key, new Set([delta]));
        else within.add(delta);
      }
    }
  }

  /** What of them would be lost with that which the change removes or replaces. */
  lostBy(change: Delta): Delta | undefined {
    if (change.before === undefined || change.kind === "mode") return undefined;
    for (const delta of this.#within.get(key(change, change.path)) ?? []) if (delta !== change) return delta;
    return undefined;
  }

  /** It has been taken over. */
  done(delta: Delta): void {
    for (const key of keys(delta)) this.#within.get(key)?.delete(delta);
  }

  /** Those last that remove some, with what takes their place. */
  ordered(changes: readonly Delta[]): Delta[] {
    const late = new Set<string>();
    const isLate = (change: Delta) => {
      const above = change.path.map((_, length) => key(change, change.path.slice(0, length)));
      if (!above.some((one) => late.has(one)) && this.lostBy(change) === undefined) return false;
      late.add(key(change, change.path));
      return true;
    };
    const [first, last]: [Delta[], Delta[]] = [[], []];
    for (const change of changes) (isLate(change) ? last : first).push(change);
    return [...first, ...last];
  }
}

function keys(delta: Delta): string[] {
  const { source = [] } = delta;
  return source.map((_, length) => key(delta, source.slice(0, length + 1)));
}

function key({ share }: Delta, path: readonly Buffer[]): string {
  return `${share.index}/${path.map((name) => name.toString("latin1")).join("/")}`;
}
