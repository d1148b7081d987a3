/** `assert`: a file in the sandbox is there, or is not, and holds what it should. */
import { COMPARABLE } from "./capture.ts";
import { mismatches } from "./match.ts";
import type { AssertStep } from "./step.ts";
import type { Verb } from "./verb.ts";

export const assert: Verb<AssertStep> = async (step, { agent, signal }) => {
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
