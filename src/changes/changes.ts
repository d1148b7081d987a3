/** The changes of one sandbox, wherever it is in its life. */

import { existsSync } from "node:fs";
import { named } from "../errors/check.ts";
import { guard, guardMethods } from "../errors/edge.ts";
import { ArgumentError, CapsaError } from "../errors/errors.ts";
import { shown } from "../errors/printable.ts";
import type { ShareSpec } from "../spec/spec.ts";
import type { ApplyOptions, ApplyResult, Change, Changes, DiffOptions } from "./api.ts";
import { apply, discard, recover } from "./apply.ts";
import { choose, collect, type Found, hasChanges } from "./collect.ts";
import { contents, summary } from "./diff.ts";
import { patch } from "./patch.ts";
import {
  createStaging,
  dropStaging,
  keepStaging,
  openStaging,
  type SandboxPlace,
  type Staging,
  stagings,
} from "./staging.ts";

/** Those that are kept for the sandbox of that id; undefined where it has no share to keep any of, or all are dropped. */
export function changesOf(id: string): StagedChanges | undefined {
  const staging = openStaging(id);
  return staging === undefined ? undefined : new StagedChanges(staging);
}

/** A place for those of a sandbox that is about to start. Throws what `createStaging` throws. */
export async function stageChanges(
  place: SandboxPlace,
  name: string,
  shares: readonly ShareSpec[],
  keep: boolean,
): Promise<StagedChanges> {
  // An apply that has died in the middle is not left so until somebody happens to look; what stands in its way is told then
  await Promise.allSettled(stagings().map((staging) => new StagedChanges(staging).recover()));
  return new StagedChanges(createStaging(place, name, shares, keep));
}

/** As {@link pendingChanges}, with what the command line needs besides. */
export async function allChanges(): Promise<StagedChanges[]> {
  const all = stagings().map((staging) => new StagedChanges(staging));
  const gone = await Promise.allSettled(all.map((one) => one.dropIfSettled()));
  return all.filter((_, at) => {
    const outcome = gone[at]!;
    return outcome.status === "rejected" || !outcome.value; // those that cannot be read are told of, too
  });
}

/**
 * Changes in transactional shares that nobody has applied or discarded, of sandboxes that run and of those that ended, the
 * newest first. Those of a sandbox that ended without any are forgotten on the way.
 * @example for (const { name, list } of await pendingChanges()) console.log(name);
 */
export async function pendingChanges(): Promise<Changes[]> {
  return guard("pendingChanges", [], allChanges);
}

export class StagedChanges implements Changes {
  #staging: Staging;
  /** With their sandbox, and not because somebody has settled them. */
  #dropped = false;

  constructor(staging: Staging) {
    this.#staging = staging;
  }

  get id(): string {
    return this.#staging.record.id;
  }

  get name(): string {
    return this.#staging.record.name;
  }

  get created(): Date {
    return new Date(this.#staging.record.created);
  }

  get directory(): string {
    return this.#staging.directory;
  }

  async list(): Promise<Change[]> {
    return (await this.#found()).map(({ change }) => change);
  }

  async diff(paths?: readonly string[], { format = "unified" }: DiffOptions = {}): Promise<string> {
    if (format === "git") return patch(this.#staging, choose(await this.#found(), paths), paths);
    if (format !== "unified")
      throw new ArgumentError(`format should be "unified" or "git", not ${shown(format)}`);
    const parts: string[] = [];
    for (const { change, text, reason } of await this.inspect(paths)) {
      parts.push(`${summary(change)}${reason === undefined ? "" : `: ${reason}`}\n`);
      if (text !== undefined) parts.push(text);
    }
    return parts.join("");
  }

  /** The same in parts: `text` is the unified difference, where there is one that can be shown. */
  async inspect(paths?: readonly string[]): Promise<{ change: Change; text?: string; reason?: string }[]> {
    const chosen = choose(await this.#found(), paths);
    const parts = [];
    for (const found of chosen)
      parts.push({ change: found.change, ...(await contents(this.#staging, found)) });
    return parts;
  }

  async apply(paths?: readonly string[], options: ApplyOptions = {}): Promise<ApplyResult> {
    this.#refuseIfDropped();
    const { applied, refused, all } = await apply(this.#staging, paths, options);
    if (all && !this.#runs) this.drop();
    return { applied: applied.map(({ change }) => change), refused: refused.map(({ change }) => change) };
  }

  async discard(paths?: readonly string[]): Promise<Change[]> {
    if (paths === undefined && !this.#runs) {
      const all = await this.list().catch(() => []); // the share's directory may be gone: no reason to keep them
      this.drop();
      return all;
    }
    this.#refuseIfDropped();
    const { discarded, all } = await discard(this.#staging, paths);
    if (all && !this.#runs) this.drop();
    return discarded.map(({ change }) => change);
  }

  /** From now on they outlive the sandbox. */
  keep(): void {
    this.#staging = keepStaging(this.#staging);
  }

  /** The sandbox has ended: forget what is not to be kept, and where nothing is left all of it. */
  async end(): Promise<void> {
    const { keep } = this.#staging.record;
    if (keep && openStaging(this.id) !== undefined) {
      await this.recover();
      if (hasChanges(this.#staging)) return;
    }
    this.#dropped = !keep;
    this.drop();
  }

  drop(): void {
    dropStaging(this.#staging);
  }

  /** Forget them once the sandbox has ended and none is left; true where they are gone. */
  async dropIfSettled(): Promise<boolean> {
    if (this.#runs) return false;
    await this.end();
    return openStaging(this.id) === undefined;
  }

  get #runs(): boolean {
    return existsSync(this.#staging.record.runtimeDir);
  }

  /** Complete an apply whose process died in the middle. */
  async recover(): Promise<void> {
    await recover(this.#staging);
  }

  async #found(): Promise<readonly Found[]> {
    this.#refuseIfDropped();
    await this.recover();
    return (await collect(this.#staging)).found;
  }

  #refuseIfDropped(): void {
    if (!this.#dropped) return;
    throw new CapsaError(
      "NO_CHANGES_KEPT",
      `sandbox ${this.name} has ended, and capsa did not keep its changes`,
      {
        hint: "apply changes while it runs, or start it with `keepChanges: true`",
      },
    );
  }
}

guardMethods(StagedChanges.prototype, {
  diff: named<DiffOptions>(1, { format: true }),
  apply: named<ApplyOptions>(1, { force: true }),
});
