/** `exec`: run a command in the sandbox; its exit code and what it prints must be as expected. */
import { constants } from "node:os";
import type { ExecResult } from "../agent/api.ts";
import { Capture, COMPARABLE } from "./capture.ts";
import { formatDuration } from "./duration.ts";
import { mismatches } from "./match.ts";
import type { Mismatch } from "./result.ts";
import type { ExecStep, TextMatch } from "./step.ts";
import type { Verb } from "./verb.ts";

export const exec: Verb<ExecStep> = async (step, { agent, signal, onOutput }) => {
  const { expect } = step;
  const stdout = new Capture(expect.stdout !== undefined);
  const stderr = new Capture(expect.stderr !== undefined);
  const ended = await agent.exec(step.argv, {
    env: step.env,
    ...(step.cwd === undefined ? {} : { cwd: step.cwd }),
    ...(step.stdin === undefined ? {} : { stdin: step.stdin }),
    timeoutMs: step.timeoutMs,
    signal,
    onStdout: (chunk) => {
      stdout.add(chunk);
      onOutput("stdout", chunk);
    },
    onStderr: (chunk) => {
      stderr.add(chunk);
      onOutput("stderr", chunk);
    },
  });
  const exitCode = exitCodeOf(ended);
  return {
    mismatches: [
      ...compareEnd(step, ended, exitCode),
      ...(expect.stdout ? compareText("stdout", stdout, expect.stdout) : []),
      ...(expect.stderr ? compareText("stderr", stderr, expect.stderr) : []),
    ],
    exitCode,
    output: { stdout: stdout.tail(), stderr: stderr.tail() },
  };
};

function compareEnd(step: ExecStep, ended: ExecResult, exitCode: number): Mismatch[] {
  if (ended.timedOut) {
    return [
      {
        subject: "time",
        expected: `ends within ${formatDuration(step.timeoutMs)}`,
        seen: "still running, killed",
        hint: 'a longer limit is timeout = "…" in the step',
      },
    ];
  }
  const wanted = step.expect.exitCode;
  if (wanted === "any" || wanted === exitCode) return [];
  const seen = ended.signal ? `ended by ${ended.signal} (${exitCode})` : String(exitCode);
  return [{ subject: "exit code", expected: String(wanted), seen }];
}

function compareText(subject: string, capture: Capture, match: TextMatch): Mismatch[] {
  const whole = capture.whole();
  if (whole) return mismatches(subject, whole, match);
  return [{ subject, expected: `at most ${COMPARABLE / 1024 / 1024} MiB to compare`, seen: "more" }];
}

/** As a shell tells it: 128 + N for a process that signal N ended. */
export function exitCodeOf(ended: Pick<ExecResult, "exitCode" | "signal">): number {
  if (ended.exitCode !== null) return ended.exitCode;
  return 128 + (constants.signals[ended.signal as NodeJS.Signals] ?? 0);
}
