/** Results of steps for people: a line each, and of a failed one all that is known. */
import type { Colors } from "picocolors/types";
import { printable, printableLine } from "../../errors/printable.ts";
import { formatDuration } from "../../spec/units.ts";
import type { ProjectReport, StepResult } from "../api.ts";

/** Lines of output shown beneath a failed step. */
const SHOWN_LINES = 20;

/** What is told when a step has ended; `file` is where it was written. */
export function describeStep(result: StepResult, colors: Colors, file?: string): string {
  const { step, status, durationMs } = result;
  const name = printableLine(step.name);
  const time = colors.dim(formatDuration(durationMs));
  if (status === "passed") return `${colors.green("✓")} ${name}  ${time}`;
  if (status === "skipped") return colors.dim(`- ${name}  skipped`);
  return [`${colors.red("✗")} ${name}  ${time}`, ...failure(result, colors, file)].join("\n");
}

function failure({ step, mismatches, output, error }: StepResult, colors: Colors, file?: string): string[] {
  const lines: string[] = [];
  if (file && step.line !== undefined) lines.push(colors.dim(printableLine(`    ${file}:${step.line}`)));
  if (error) lines.push(...indent(`${error.message}`));
  for (const { subject, expected, seen, hint } of mismatches) {
    const told = [`    ${subject}`, `      expected  ${expected}`, `      seen      ${seen}`];
    lines.push(...[...told, ...(hint ? [`      ${hint}`] : [])].map(printableLine));
  }
  for (const stream of ["stdout", "stderr"] as const) {
    const tail = output?.[stream].trimEnd();
    if (!tail) continue;
    const all = tail.split("\n");
    lines.push(colors.dim(`    ${all.length > SHOWN_LINES ? `the end of ${stream}` : stream}:`));
    lines.push(...all.slice(-SHOWN_LINES).map((line) => `      ${printable(line)}`));
  }
  return lines;
}

export function describeRun(run: ProjectReport, colors: Colors): string {
  const parts = [colors.green(`${run.passed} passed`)];
  if (run.failed > 0) parts.push(colors.red(`${run.failed} failed`));
  if (run.skipped > 0) parts.push(colors.dim(`${run.skipped} skipped`));
  return `${parts.join(", ")} in ${formatDuration(run.durationMs)}`;
}

function indent(text: string): string[] {
  return text.split("\n").map((line) => `    ${printable(line)}`);
}
