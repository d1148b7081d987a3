/** `exec`: run a command in the sandbox; its exit code and what it prints must be as expected. */

import { type Static, Type } from "@sinclair/typebox";
import type { ExecResult } from "../agent/api.ts";
import { shellStatus } from "../host/signals.ts";
import { closed, command, environment, guestPath, optional, text, toArgv } from "../spec/forms.ts";
import { formatDuration } from "../spec/units.ts";
import type { Mismatch, ProjectStep } from "./api.ts";
import type { StepKind, StepOf } from "./kind.ts";
import { Capture, mismatches, resolveMatch, type TextMatch, TextMatchSchema, tooLong } from "./match.ts";

export interface Exec {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdin?: string;
  readonly expect: {
    /** A process ended by signal N counts as 128 + N. */
    readonly exitCode: number | "any";
    readonly stdout?: TextMatch;
    readonly stderr?: TextMatch;
  };
}

export type ExecStep = StepOf<"exec", Exec>;

const schema = Type.Object({
  exec: command("Run a command."),
  env: optional(environment("exec: added to the environment.")),
  cwd: optional(guestPath("exec: the working directory.")),
  stdin: optional(text("exec: what the command reads from its standard input (default: nothing).")),
  expect: optional(
    Type.Object(
      {
        exitCode: optional(
          Type.Union([Type.Integer({ minimum: 0, maximum: 255 }), Type.Literal("any")], {
            description:
              'Exit code (default 0); "any" accepts all. A process ended by signal N counts as 128 + N.',
            expected: 'a whole number from 0 to 255, or "any"',
          }),
        ),
        stdout: optional(TextMatchSchema),
        stderr: optional(TextMatchSchema),
      },
      {
        ...closed,
        description: "What the command must return.",
        expected: "a table such as { exitCode = 0 }",
      },
    ),
  ),
});

const example = `
[[steps]]
name = "count words"     # name in reports (default: the command or the file)
timeout = "1m"           # how long it may take (default "10m")
exec = ["wc", "-w"]      # a program and its arguments, or a text for the guest's shell
stdin = "a b c"          # its standard input (default: nothing)
env = { LC_ALL = "C" }   # added to the sandbox's environment
cwd = "/tmp"             # working directory (default: the sandbox's)

[steps.expect]
exitCode = 0             # default 0; "any" accepts all. A process ended by signal N counts as 128 + N.
[steps.expect.stdout]    # for stdout and stderr alike; all of these must hold
equals = "3\\n"           # the whole text, to the byte
contains = ["3"]         # a text that must occur, or a list of texts
matches = '^\\d+$'        # a JavaScript regular expression; ^ and $ match at every line
[steps.expect.stderr]
equals = ""
contains = ""
matches = '^$'
`;

export const exec: StepKind<Exec, typeof schema> = {
  schema,
  example,
  keepsTime: true,

  resolve(table, { path, sandbox, report }) {
    const cwd = table.cwd ?? sandbox?.cwd;
    const { exitCode = 0, ...texts } = table.expect ?? {};
    const match = (stream: "stdout" | "stderr") =>
      texts[stream] && { [stream]: resolveMatch(texts[stream], [...path, "expect", stream], report) };
    return {
      argv: toArgv(table.exec),
      env: table.env ?? {},
      ...(cwd !== undefined && { cwd }),
      ...(table.stdin !== undefined && { stdin: table.stdin }),
      expect: { exitCode, ...match("stdout"), ...match("stderr") },
    };
  },

  title: (table) => commandTitle(table.exec),

  async run(step, { agent, signal, onOutput }) {
    const { argv, env, cwd, stdin, expect, timeoutMs } = step;
    const stdout = new Capture(expect.stdout !== undefined);
    const stderr = new Capture(expect.stderr !== undefined);
    const ended = await agent.exec(argv, {
      env,
      ...(cwd !== undefined && { cwd }),
      ...(stdin !== undefined && { stdin }),
      timeoutMs,
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
    const exitCode = shellStatus(ended);
    return {
      mismatches: [
        ...compareEnd(step, ended, exitCode),
        ...(expect.stdout ? compareText("stdout", stdout, expect.stdout) : []),
        ...(expect.stderr ? compareText("stderr", stderr, expect.stderr) : []),
      ],
      exitCode,
      output: { stdout: stdout.tail(), stderr: stderr.tail() },
    };
  },
};

/** The first line of a command, or its beginning. */
export function commandTitle(given: Static<typeof schema>["exec"]): string {
  const whole = typeof given === "string" ? given.trim() : given.join(" ");
  const [first = "", ...more] = whole.split("\n");
  return more.length > 0 || first.length > 72 ? `${first.slice(0, 71)}…` : first;
}

function compareEnd(step: Exec & ProjectStep, ended: ExecResult, exitCode: number): Mismatch[] {
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
  return whole ? mismatches(subject, whole, match) : [tooLong(subject)];
}
