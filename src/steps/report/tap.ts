/** A run in the Test Anything Protocol, version 14 (https://testanything.org/tap-version-14-specification.html). */
import { printableJson, printableLine } from "../../errors/printable.ts";
import type { ProjectReport, StepResult } from "../api.ts";

export function tapReport(run: ProjectReport): string {
  const lines = ["TAP version 14", `1..${run.steps.length}`];
  for (const [index, result] of run.steps.entries()) lines.push(...point(result, index + 1));
  return `${lines.join("\n")}\n`;
}

function point(result: StepResult, number: number): string[] {
  const state = result.status === "failed" ? "not ok" : "ok";
  // "#" begins a directive and "\" an escape
  const name = printableLine(result.step.name.replace(/\s+/g, " ")).replace(/[\\#]/g, "\\$&");
  const skip = result.status === "skipped" ? " # SKIP an earlier step failed" : "";
  const line = `${state} ${number} - ${name}${skip}`;
  return result.status === "failed" ? [line, ...diagnostics(result)] : [line];
}

/** A YAML block; JSON values are YAML values. */
function diagnostics({ step, durationMs, mismatches, exitCode, output, error }: StepResult): string[] {
  const facts: Record<string, unknown> = {
    sandbox: step.sandbox,
    line: step.line,
    duration_ms: Math.round(durationMs),
    exit_code: exitCode,
    error: error && `${error.message} (${error.code})`,
    mismatches: mismatches.length > 0 ? mismatches : undefined,
    stdout: output?.stdout || undefined,
    stderr: output?.stderr || undefined,
  };
  const entries = Object.entries(facts).filter(([, value]) => value !== undefined);
  return ["  ---", ...entries.map(([key, value]) => `  ${key}: ${printableJson(value)}`), "  ..."];
}
