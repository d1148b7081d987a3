/** Runs steps in order, each in its sandbox, until one fails. */
import type { Agent } from "../agent/api.ts";
import type { Change } from "../changes/api.ts";
import { GuestLostError } from "../errors/errors.ts";
import { record } from "../host/telemetry.ts";
import type { LogEntry } from "../sandbox/api.ts";
import { formatDuration } from "../spec/units.ts";
import type { ProjectReport, ProjectRunOptions, ProjectStep, StepResult } from "./api.ts";
import { kinds, type Step } from "./index.ts";
import type { StepKind } from "./kind.ts";

/** Codes of {@link GuestLostError}: its steps have nowhere to run any more. */
const LOST: ReadonlySet<string> = new Set(["GUEST_LOST", "SANDBOX_ENDED"]);

export interface RunOptions extends ProjectRunOptions {
  /** What a sandbox has changed in its transactional shares; nothing without. */
  readonly changes?: (sandbox: string) => Promise<readonly Change[]>;
  /** What the main process of a sandbox has printed so far; nothing without. */
  readonly printed?: (sandbox: string) => Promise<readonly LogEntry[]>;
}

/** Run `steps`; `agents` has one for every sandbox they name. Failures are results, not errors. */
export async function runSteps(
  steps: readonly Step[],
  agents: ReadonlyMap<string, Agent>,
  options: RunOptions = {},
): Promise<ProjectReport> {
  const begun = performance.now();
  const results: StepResult[] = [];
  let stopped = false;
  for (const [index, step] of steps.entries()) {
    options.signal?.throwIfAborted();
    if (!stopped) options.onStepStart?.(step, index);
    const result: StepResult = stopped
      ? skipped(step)
      : await runStep(step, agents.get(step.sandbox)!, options);
    if (result.status === "failed") stopped ||= !options.keepGoing || LOST.has(result.error?.code ?? "");
    results.push(result);
    options.onStep?.(result, index);
  }
  const count = (status: StepResult["status"]) => results.filter((result) => result.status === status).length;
  return {
    steps: results,
    passed: count("passed"),
    failed: count("failed"),
    skipped: count("skipped"),
    durationMs: performance.now() - begun,
  };
}

/** Its name is not in the span: it is the command where none was given. */
async function runStep(step: Step, agent: Agent, options: RunOptions): Promise<StepResult> {
  const span = record(`step ${step.verb}`, () => ({
    "capsa.sandbox.name": step.sandbox,
    ...(step.line !== undefined && { "code.line.number": step.line }),
  }));
  if (span === undefined) return performStep(step, agent, options);
  try {
    const result = await span.within(() => performStep(step, agent, options));
    if (result.status === "passed") span.end();
    else span.end(result.error?.code ?? "expectation");
    return result;
  } catch (error) {
    span.fail(error);
    throw error;
  }
}

async function performStep(
  step: Step,
  agent: Agent,
  { signal = new AbortController().signal, changes, printed, onOutput }: RunOptions,
): Promise<StepResult> {
  const begun = performance.now();
  const kind = kinds[step.verb] as unknown as StepKind<ProjectStep>;
  const limit = kind.keepsTime ? undefined : AbortSignal.timeout(step.timeoutMs);
  const done = (rest: Omit<StepResult, "step" | "durationMs">): StepResult => ({
    step,
    durationMs: performance.now() - begun,
    ...rest,
  });
  try {
    const outcome = await kind.run(step, {
      agent,
      changes: async () => (await changes?.(step.sandbox)) ?? [],
      printed: async () => (await printed?.(step.sandbox)) ?? [],
      signal: limit ? AbortSignal.any([signal, limit]) : signal,
      onOutput: (stream, chunk) => onOutput?.(step, stream, chunk),
    });
    return done({ status: outcome.mismatches.length === 0 ? "passed" : "failed", ...outcome });
  } catch (error) {
    signal.throwIfAborted();
    if (!limit?.aborted) return done({ status: "failed", mismatches: [], error: describe(error) });
    const message = `no answer in ${formatDuration(step.timeoutMs)}`;
    return done({ status: "failed", mismatches: [], error: { code: "ETIMEDOUT", message } });
  }
}

function describe(error: unknown): NonNullable<StepResult["error"]> {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof GuestLostError) return { code: error.code, message };
  const code = (error as { code?: unknown }).code;
  return { code: typeof code === "string" ? code : "FAILED", message };
}

function skipped(step: Step): StepResult {
  return { step, status: "skipped", durationMs: 0, mismatches: [] };
}
