/** What every verb of a script is given, and what it gives back. */
import type { Agent } from "../agent/api.ts";
import type { Change } from "../changes/api.ts";
import type { Outcome } from "./result.ts";

export interface StepContext {
  readonly agent: Agent;
  /** What the sandbox has changed in its transactional shares. */
  readonly changes: () => Promise<readonly Change[]>;
  /** Aborts when the step is to end, by its timeout or by the user; a verb rejects with its reason then. */
  readonly signal: AbortSignal;
  /** Told of output as it comes. */
  readonly onOutput: (stream: "stdout" | "stderr", chunk: Uint8Array) => void;
}

/** Carries a step out. Rejects where it could not be carried out; an expectation not met is an outcome. */
export type Verb<S> = (step: S, context: StepContext) => Promise<Outcome>;
