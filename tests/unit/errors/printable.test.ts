/** Whatever a guest has chosen, nothing that would steer a terminal, or hide on it, comes out of what capsa says. */
import { describe, expect, test } from "bun:test";
import pico from "picocolors";
import type { ProcessEntry } from "../../../src/agent/api.ts";
import type { Change } from "../../../src/changes/api.ts";
import { shownName } from "../../../src/changes/names.ts";
import { describeFailure } from "../../../src/cli/failure.ts";
import { formatTable } from "../../../src/cli/output.ts";
import { listed } from "../../../src/cli/pending.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";
import { describePart } from "../../../src/cli/verbs/diff.ts";
import { describeProcesses } from "../../../src/cli/verbs/ps.ts";
import { formatProblems } from "../../../src/config/problem.ts";
import { AgentError, BootError, CapsaError, HostFileError } from "../../../src/errors/errors.ts";
import { printable, printableJson, printableLine, printableToml } from "../../../src/errors/printable.ts";
import { learnedToml } from "../../../src/network/learn.ts";
import { sharesToml } from "../../../src/sandbox/learn.ts";
import type { ProjectReport, StepResult } from "../../../src/steps/api.ts";
import type { ExecStep } from "../../../src/steps/exec.ts";
import { quote } from "../../../src/steps/match.ts";
import { junitReport } from "../../../src/steps/report/junit.ts";
import { tapReport } from "../../../src/steps/report/tap.ts";
import { describeStep } from "../../../src/steps/report/terminal.ts";
import { failure, words } from "../../../src/wire/fields.ts";
import { Shown } from "../cli/shown.ts";

/** One of each kind, and the numbers of those characters that must not be seen. */
const HOSTILE: Readonly<Record<string, [text: string, ...hidden: number[]]>> = {
  "a sequence of C0": ["\x1b[31mred\x07\b", 0x1b, 0x07, 0x08],
  "a carriage return": ["all is well\rnothing", 0x0d],
  DEL: ["a\x7fb", 0x7f],
  "a sequence of C1": ["\u009b31mred\u0085\u0090", 0x9b, 0x85, 0x90],
  "embeddings and overrides": ["\u202a\u202b\u202c\u202d\u202e", 0x202a, 0x202b, 0x202c, 0x202d, 0x202e],
  isolates: ["\u2066\u2067\u2068\u2069", 0x2066, 0x2067, 0x2068, 0x2069],
  "marks of direction": ["\u200e\u200f\u061c", 0x200e, 0x200f, 0x061c],
  "what has no width": ["\u200b\u200c\u200d\u2060\ufeff\u00ad", 0x200b, 0x200c, 0x200d, 0x2060, 0xfeff, 0xad],
  "letters that do not show": ["\u115f\u3164\u034f\uffa0", 0x115f, 0x3164, 0x34f, 0xffa0],
  "tags and selectors": ["a\u{e0041}b\u{e0101}c\ufe0f", 0xe0041, 0xe0101, 0xfe0f],
  separators: ["a\u2028b\u2029c", 0x2028, 0x2029],
  "half a pair": ["a\ud800b\udc00", 0xd800, 0xdc00],
};

const FORGED = "x\ncapsa: all is well\n\tok";

const colors = pico.createColors(false);
const change = (text: string, path = text): Change => ({
  kind: "created",
  path,
  type: "symlink",
  target: text,
  conflict: text,
});
const step = (text: string): StepResult => ({
  step: { verb: "exec", name: text, sandbox: "box", line: 1, timeoutMs: 1 } as ExecStep,
  status: "failed",
  durationMs: 1,
  mismatches: [{ subject: text, expected: quote(text), seen: text, hint: text }],
  output: { stdout: text, stderr: text },
  error: { code: "X", message: text },
});
const run = (text: string): ProjectReport => ({
  steps: [step(text)],
  passed: 0,
  failed: 1,
  skipped: 0,
  durationMs: 1,
});
const process = (text: string): ProcessEntry => ({
  id: 1,
  pid: 1,
  argv: [text],
  started: new Date(),
  status: null,
});
const share = (text: string) => ({
  share: {
    host: `/${text}`,
    guest: `/${text}`,
    mode: "rw" as const,
    ownership: { mode: "root" as const },
    cache: "auto" as const,
  },
  use: "written" as const,
  mode: "rw" as const,
  entries: [shownName(Buffer.from(text))],
  more: false,
});

function said(work: (terminal: Terminal) => void): string {
  const terminal = new Shown();
  work(terminal);
  return terminal.text;
}

/** Texts for people and for programs that people look at. */
const TEXTS: Readonly<Record<string, (text: string) => string>> = {
  printable: printable,
  print: (text) => said((terminal) => void terminal.print(text)),
  say: (text) => said((terminal) => void terminal.say(text)),
  "a difference": (text) => describePart({ change: change(text), text: `+${text}\n` }, colors, "person"),
  "a step": (text) => describeStep(step(text), colors, text),
  JUnit: (text) => junitReport(run(text), text),
  "an error": (text) => {
    const { message, hint } = new CapsaError("X", text, { hint: text });
    return `${message}${hint}`;
  },
  "an error of the boot": (text) => new BootError("X", text, { consoleTail: text }).message,
  "a failure": (text) =>
    said((terminal) => void terminal.say(describeFailure(new Error(text)).text)) +
    describeFailure(new CapsaError("X", text, { hint: text })).text,
  "a problem": (text) =>
    said((terminal) => {
      const problem = { key: "a", message: text, line: 1, column: 2, hint: text };
      void terminal.say(formatProblems(text, text, [problem]));
    }),
};

/** Those that are one line, or a line of many, whatever is in them. */
const LINES: Readonly<Record<string, (text: string) => string>> = {
  printableLine: printableLine,
  printableJson: (text) => printableJson(text),
  printableToml: printableToml,
  json: (text) => said((terminal) => void terminal.json({ [text]: text })),
  jsonLine: (text) => said((terminal) => void terminal.jsonLine([text])),
  "a table": (text) => formatTable(["A", "B"], [[text, text]]),
  processes: (text) => describeProcesses([process(text)]),
  "the line of a difference": (text) =>
    describePart({ change: change(text), reason: text }, colors, "program"),
  "a list of changes": (text) => listed([change(text)]),
  TAP: (text) => tapReport(run(text)),
  quote: quote,
  "a name": (text) => shownName(Buffer.from(text)),
  "shares to be": (text) =>
    sharesToml("box", "/capsa.toml", [share(text), { ...share(text), use: "unused" }]),
  "rules to be": (text) => learnedToml("box", { allow: [text], onlyAsked: [words({ text }, "text")] }),
  "words of a message": (text) => words({ text }, "text"),
  "an error of the other side": (text) => failure({ code: "X", message: text }).message,
  "an error of the agent": (text) => new AgentError("X", `stat /${text}: ${text}`, { op: "stat" }).message,
  "an error about a file": (text) => new HostFileError("X", `/${text}`, text).message,
};

const ALL = Object.entries({ ...TEXTS, ...LINES });

describe.each(ALL)("%s", (_, render) => {
  test.each(Object.entries(HOSTILE))("%s", (_, [text, ...hidden]) => {
    const shown = render(text);
    const points = [...shown].map((char) => char.codePointAt(0)!);
    expect(points.filter((point) => hidden.includes(point))).toEqual([]);
  });

  test("what is seen stays", () => {
    const seen = "blümchen 花 \u{1f600} ✔\ufe0f é עברית";
    expect(render(seen)).toContain(seen);
  });
});

test.each(Object.entries(LINES))("%s has no line of somebody else's", (_, render) => {
  expect(render(FORGED).split("\n")).not.toContain("capsa: all is well");
  expect(render(FORGED)).not.toContain("\t");
});

test("text keeps its lines and tabs", () => {
  expect(printable(FORGED)).toBe(FORGED);
});

test("JSON and TOML mean what they meant", () => {
  for (const [text] of Object.values(HOSTILE)) {
    const value = { [text]: [text, FORGED] };
    expect(JSON.parse(printableJson(value))).toEqual(value);
    expect(JSON.parse(printableJson(value, 2))).toEqual(value);
    expect(Bun.TOML.parse(`a = ${printableToml(text)}`)).toEqual({ a: text.toWellFormed() });
  }
});

test("what is piped is to the byte", () => {
  const text = "+\u202e\u009b\n";
  expect(describePart({ change: change("x"), text }, colors, "program")).toEndWith(text);
});
