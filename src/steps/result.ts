/** What came of a step, and of a run of steps. */
import type { Step } from "./step.ts";

/** One expectation that was not met. */
export interface Mismatch {
  /** What it was about: `"exit code"`, `"stdout"`, `"/output/a.json"`. */
  readonly subject: string;
  /** `'contains "ok"'` */
  readonly expected: string;
  /** `'"not so"'` */
  readonly seen: string;
  readonly hint?: string;
}

/** The end of what a command printed, for the reader of a failure. */
export interface OutputTail {
  readonly stdout: string;
  readonly stderr: string;
}

/** What a verb gives back: passed exactly when there is no mismatch. */
export interface Outcome {
  readonly mismatches: readonly Mismatch[];
  /** Of an exec. */
  readonly exitCode?: number;
  readonly output?: OutputTail;
}

export interface StepResult {
  readonly step: Step;
  readonly status: "passed" | "failed" | "skipped";
  readonly durationMs: number;
  readonly mismatches: readonly Mismatch[];
  readonly exitCode?: number;
  readonly output?: OutputTail;
  /** The step could not be carried out at all. */
  readonly error?: { readonly code: string; readonly message: string };
}

export interface RunResult {
  readonly steps: readonly StepResult[];
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly durationMs: number;
}
