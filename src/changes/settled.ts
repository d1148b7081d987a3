/**
 * What of a guest's changes somebody has applied or discarded. What the guest wrote stays where it is, for the guest may be
 * using it: it is only no change any more, until the guest changes it again.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { writeWhole } from "../host/files.ts";
import type { Delta } from "./compare.ts";
import { shownPath } from "./names.ts";
import { type Side, signature } from "./side.ts";
import type { Staging } from "./staging.ts";

const FILE = "settled.json";

interface Mark {
  /** Signatures: of what the guest had there, and of what was in the shared directory afterwards. */
  readonly after: string;
  readonly before: string;
}

export class Settled {
  readonly #path: string;
  readonly #marks: Map<string, Mark>;
  readonly #since: bigint;

  constructor({ directory, record }: Staging) {
    this.#path = join(directory, FILE);
    this.#since = BigInt(record.since);
    let marks: Record<string, Mark> = {};
    try {
      marks = JSON.parse(readFileSync(this.#path, "utf8"));
    } catch {
      // nothing has been settled yet
    }
    this.#marks = new Map(Object.entries(marks));
  }

  /** It has been applied or discarded, and the guest has not touched it since. */
  has(at: Pick<Delta, "share" | "path">, after: Side | undefined): boolean {
    return this.#marks.get(key(at))?.after === signature(after);
  }

  /** `now`: what the shared directory has there. */
  add(delta: Delta, now: Side | undefined): void {
    this.#marks.set(key(delta), { after: signature(delta.after ?? delta.instead), before: signature(now) });
  }

  /** Whether this machine has changed something in a shared directory since the sandbox started, and not by an apply. */
  isForeign(at: Pick<Delta, "share" | "path">, side: Side): boolean {
    return side.ctimeNs > this.#since && this.#marks.get(key(at))?.before !== signature(side);
  }

  write(): void {
    writeWhole(this.#path, Object.fromEntries(this.#marks), { flush: true });
  }
}

function key({ share, path }: Pick<Delta, "share" | "path">): string {
  return shownPath(share, path);
}
