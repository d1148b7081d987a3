/** A run as one JSON document. */
import type { ProjectReport } from "../api.ts";

/** Plain data: times in milliseconds, rounded; steps in order. */
export function jsonReport(run: ProjectReport) {
  return {
    passed: run.passed,
    failed: run.failed,
    skipped: run.skipped,
    durationMs: Math.round(run.durationMs),
    steps: run.steps.map(({ step, status, durationMs, mismatches, exitCode, output, error }) => ({
      name: step.name,
      verb: step.verb,
      sandbox: step.sandbox,
      line: step.line,
      status,
      durationMs: Math.round(durationMs),
      exitCode,
      mismatches,
      output,
      error,
    })),
  };
}
