/**
 * `assert`: a file in the sandbox is there, or is not, and holds what it should; or the sandbox has changed in its
 * transactional shares what it should, and nothing else.
 */
import { headline } from "../changes/diff.ts";
import { COMPARABLE } from "./capture.ts";
import { mismatches, quote } from "./match.ts";
import type { Outcome } from "./result.ts";
import type { AssertStep } from "./step.ts";
import type { Verb } from "./verb.ts";

export const assert: Verb<AssertStep> = async (step, { agent, changes, signal }) => {
  if ("changes" in step) return assertChanges(step.changes, (await changes()).map(headline));
  const exists = await agent.exists(step.file, { signal });
  if (exists !== step.exists) {
    const tell = (there: boolean) => (there ? "exists" : "does not exist");
    return { mismatches: [{ subject: step.file, expected: tell(step.exists), seen: tell(exists) }] };
  }
  if (!step.match) return { mismatches: [] };
  const bytes = await agent.readFile(step.file, { length: COMPARABLE + 1, signal });
  if (bytes.length > COMPARABLE) {
    const limit = `at most ${COMPARABLE / 1024 / 1024} MiB to compare`;
    return { mismatches: [{ subject: step.file, expected: limit, seen: "more" }] };
  }
  return { mismatches: mismatches(step.file, bytes, step.match) };
};

function assertChanges(wanted: readonly string[], seen: readonly string[]): Outcome {
  const missing = wanted.filter((change) => !seen.includes(change));
  const extra = seen.filter((change) => !wanted.includes(change));
  if (missing.length + extra.length === 0) return { mismatches: [] };
  const list = (changes: readonly string[]) =>
    changes.length === 0 ? "nothing" : changes.map(quote).join(", ");
  const mismatch = { subject: "changes", expected: list(wanted), seen: list(seen) };
  const differs = [
    ...(missing.length > 0 ? [`missing: ${list(missing)}`] : []),
    ...(extra.length > 0 ? [`not expected: ${list(extra)}`] : []),
  ];
  return {
    mismatches: [seen.length + wanted.length > 2 ? { ...mismatch, hint: differs.join("; ") } : mismatch],
  };
}
