/** Steps, and what became of them, as those see them who have them run. Plain data. */

export interface ProjectStep {
  /** What reports call it. */
  readonly name: string;
  /** Name of the sandbox it runs in. */
  readonly sandbox: string;
  readonly verb: "exec" | "write" | "assert" | "wait";
  readonly timeoutMs: number;
  /** Line of the file it was written in. */
  readonly line?: number;
}

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

/** What carrying a step out gives: it has passed exactly when there is no mismatch. */
export interface Outcome {
  readonly mismatches: readonly Mismatch[];
  /** Of a command. */
  readonly exitCode?: number;
  /** The end of what it printed, for the reader of a failure. */
  readonly output?: { readonly stdout: string; readonly stderr: string };
}

export interface StepResult extends Outcome {
  readonly step: ProjectStep;
  readonly status: "passed" | "failed" | "skipped";
  readonly durationMs: number;
  /** The step could not be carried out at all. */
  readonly error?: { readonly code: string; readonly message: string };
}

/** All steps of a run, in their order. */
export interface ProjectReport {
  readonly steps: readonly StepResult[];
  readonly passed: number;
  readonly failed: number;
  /** Those behind a failed one. */
  readonly skipped: number;
  readonly durationMs: number;
}

export interface ProjectRunOptions {
  /** Told before a step begins. */
  readonly onStepStart?: (step: ProjectStep, index: number) => void;
  /** Told of output as it comes. */
  readonly onOutput?: (step: ProjectStep, stream: "stdout" | "stderr", chunk: Uint8Array) => void;
  /** Told of each step with its result, of those that are skipped as well. */
  readonly onStep?: (result: StepResult, index: number) => void;
  /** After a failed step go on with the next instead of skipping the rest. */
  readonly keepGoing?: boolean;
  /** Aborting ends the step that runs; the run then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}
