/**
 * What holds for a while, kept between processes: a dot file of the runtime directory. What there is doubtful is as nothing.
 */

import { join } from "node:path";
import { runtimeBase } from "./directories.ts";
import { readPlainFile, writeWhole } from "./files.ts";

const LIMIT = 4096; // bytes
const DAY_MS = 24 * 3600_000;

/** What was last kept as `name`, if it is about just that, and holds still. Its form is the caller's to check. */
export function recall(name: string, about: string): unknown {
  try {
    const kept = JSON.parse(Buffer.from(readPlainFile(join(runtimeBase(), name), LIMIT)).toString());
    const ageMs = Date.now() - Number(kept.at);
    return kept.about === about && ageMs >= 0 && ageMs < Math.min(kept.holdsMs, DAY_MS)
      ? kept.value
      : undefined;
  } catch {
    return undefined;
  }
}

/** Keep it for a day at most. Where that cannot be it has only to be found out again. */
export function remember(name: string, about: string, value: unknown, holdsMs = DAY_MS): void {
  try {
    writeWhole(join(runtimeBase(), name), { about, at: Date.now(), holdsMs, value });
  } catch {
    // no room, or no directory of ours alone: a start tells of that
  }
}
