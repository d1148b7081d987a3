/** The `[[steps]]` tables into steps. */

import { resolve } from "node:path";
import { Value } from "@sinclair/typebox/value";
import { lookUp } from "../host/look_up.ts";
import { unexpanded } from "../host/written.ts";
import { suggest } from "../spec/suggest.ts";
import { parseDuration } from "../spec/units.ts";
import type { ChangesAssertion, FileAssertion, Step, TextMatch } from "../steps/step.ts";
import type { Path, Positions } from "./positions.ts";
import type { Reporter } from "./reporter.ts";
import { toArgv } from "./sandbox.ts";
import { type SandboxTable, StepSchema, type StepTable, type TextMatchTable } from "./schema.ts";

const VERBS = ["exec", "write", "assert"] as const;
/** Keys of a step that only an exec has a use for. */
const EXEC_ONLY = ["env", "cwd", "stdin", "expect"] as const;
const TIMEOUT_MS = 600_000;

interface Context {
  readonly sandboxes: Readonly<Record<string, SandboxTable>>;
  /** Directory of the file. */
  readonly base: string;
  readonly positions: Positions;
  readonly report: Reporter;
}

/** The steps among `tables` that the schema accepts; what is wrong with the others has been reported already. */
export function resolveSteps(tables: readonly StepTable[], context: Context): Step[] {
  return tables.flatMap((table, index) =>
    Value.Check(StepSchema, table) ? (resolveStep(table, ["steps", index], context) ?? []) : [],
  );
}

function resolveStep(table: StepTable, path: Path, context: Context): Step | undefined {
  const { report } = context;
  const sandbox = resolveTarget(table, path, context);
  const verbs = VERBS.filter((verb) => table[verb] !== undefined);
  const [verb, second] = verbs;
  if (verb === undefined) {
    report(path, "this step does nothing", 'give it one of exec = "…", write = { … } and assert = { … }');
    return undefined;
  }
  if (second !== undefined) {
    report(
      [...path, second],
      `a step does one thing, and this one has ${verbs.join(" and ")}`,
      "make them steps of their own",
    );
    return undefined;
  }
  for (const key of EXEC_ONLY) {
    if (verb !== "exec" && table[key] !== undefined)
      report([...path, key], `${key} belongs to exec, and this step has ${verb}`);
  }
  const timeoutMs = table.timeout === undefined ? TIMEOUT_MS : (parseDuration(table.timeout) ?? 0);
  if (timeoutMs === 0) report([...path, "timeout"], "a step takes longer than no time at all");
  const line = context.positions.nearest(path).line;
  const common = { name: table.name ?? defaultName(table), sandbox, timeoutMs, line };
  if (table.exec !== undefined)
    return { verb: "exec", ...common, ...resolveExec(table, table.exec, sandbox, path, context) };
  if (table.write !== undefined)
    return { verb: "write", ...common, ...resolveWrite(table.write, path, context) };
  return { verb: "assert", ...common, ...resolveAssert(table.assert!, sandbox, path, context) };
}

function resolveTarget(table: StepTable, path: Path, { sandboxes, report }: Context): string {
  const names = Object.keys(sandboxes);
  if (table.sandbox !== undefined) {
    if (!names.includes(table.sandbox)) {
      const meant = suggest(table.sandbox, names);
      report(
        [...path, "sandbox"],
        `there is no sandbox "${table.sandbox}"`,
        meant ? `did you mean "${meant}"?` : `there are: ${names.join(", ")}`,
      );
    }
    return table.sandbox;
  }
  if (names.length > 1) {
    report(
      path,
      "the file has several sandboxes, and the step must say which",
      `add sandbox = "${names[0]}"`,
    );
  }
  return names[0] ?? "";
}

function resolveExec(
  table: StepTable,
  exec: string | string[],
  sandbox: string,
  path: Path,
  context: Context,
) {
  const cwd = table.cwd ?? context.sandboxes[sandbox]?.cwd;
  const { exitCode = 0, stdout, stderr } = table.expect ?? {};
  return {
    argv: toArgv(exec),
    env: table.env ?? {},
    ...(cwd === undefined ? {} : { cwd }),
    ...(table.stdin === undefined ? {} : { stdin: table.stdin }),
    expect: {
      exitCode,
      ...(stdout ? { stdout: resolveMatch(stdout, [...path, "expect", "stdout"], context) } : {}),
      ...(stderr ? { stderr: resolveMatch(stderr, [...path, "expect", "stderr"], context) } : {}),
    },
  };
}

function resolveWrite(write: NonNullable<StepTable["write"]>, path: Path, { base, report }: Context) {
  const at = [...path, "write"];
  if (write.text !== undefined && write.from !== undefined) {
    report([...at, "from"], "text and from both say what is written", "keep one of them");
  } else if (write.text === undefined && write.from === undefined) {
    report(at, "nothing says what is written", 'add text = "…" or from = "./file"');
  }
  const from = write.from === undefined ? undefined : resolve(base, write.from);
  // an earlier step may make it, so only what can never be read is refused
  const found = from === undefined ? undefined : lookUp(from);
  const wrong = unexpanded(write.from ?? "");
  if (wrong !== undefined) {
    report([...at, "from"], ...wrong);
  } else if (found !== undefined && "why" in found) {
    if (!found.missing) report([...at, "from"], found.why);
  } else if (found?.isDirectory()) {
    report([...at, "from"], `${from} is a directory`, "name a file, or share the directory");
  }
  return {
    file: write.file,
    contents: from === undefined ? { text: write.text ?? "" } : { from },
    mode: Number.parseInt(write.mode ?? "644", 8),
  };
}

function resolveAssert(
  assert: NonNullable<StepTable["assert"]>,
  sandbox: string,
  path: Path,
  context: Context,
): FileAssertion | ChangesAssertion {
  const { file, changes, exists = true, ...match } = assert;
  const at = [...path, "assert"];
  if (changes !== undefined) return resolveChanges({ ...assert, changes }, sandbox, at, context);
  if (file === undefined) {
    context.report(at, "nothing says what is asserted", 'add file = "/a", or changes = […]');
    return { file: "/", exists };
  }
  const asked = Object.keys(match);
  if (!exists && asked.length > 0) {
    context.report(
      [...at, asked[0]!],
      `${asked[0]} asks for the contents of a file that must not exist`,
      "drop one of the two",
    );
  }
  return { file, exists, ...(asked.length > 0 ? { match: resolveMatch(match, at, context) } : {}) };
}

function resolveChanges(
  { changes, ...rest }: NonNullable<StepTable["assert"]> & { changes: string[] },
  sandbox: string,
  at: Path,
  { sandboxes, report }: Context,
): ChangesAssertion {
  const [other] = Object.keys(rest);
  if (other !== undefined)
    report(
      [...at, other],
      `${other} is about a file, and this is about changes`,
      "make them steps of their own",
    );
  const shares = sandboxes[sandbox]?.shares ?? [];
  if (
    sandbox in sandboxes &&
    Array.isArray(shares) &&
    !shares.some((share) => share?.mode === "transaction")
  ) {
    report(
      [...at, "changes"],
      `sandbox "${sandbox}" has no share that keeps changes`,
      'give one of its shares mode = "transaction"',
    );
  }
  return { changes };
}

function resolveMatch(table: TextMatchTable, path: Path, { report }: Context): TextMatch {
  const { equals, contains, matches } = table;
  if (equals === undefined && contains === undefined && matches === undefined) {
    report(path, "this expects nothing", "add equals, contains or matches");
  }
  return {
    ...(equals === undefined ? {} : { equals }),
    ...(contains === undefined ? {} : { contains: typeof contains === "string" ? [contains] : contains }),
    ...(matches === undefined ? {} : { matches: resolvePattern(matches, [...path, "matches"], report) }),
  };
}

function resolvePattern(pattern: string, path: Path, report: Reporter): RegExp {
  try {
    return new RegExp(pattern, "mu");
  } catch (error) {
    const why = (error as Error).message.replace(/^Invalid regular expression: /, "");
    report(
      path,
      `not a regular expression: ${why}`,
      "in TOML, write patterns in single quotes, where \\ stays \\",
    );
    return /(?:)/;
  }
}

/** What a report calls a step that has no name: the command or the file. */
function defaultName(table: StepTable): string {
  const { exec, write, assert } = table;
  if (write) return `write ${write.file}`;
  if (assert) return `assert ${assert.file ?? "changes"}`;
  const command = typeof exec === "string" ? exec.trim() : (exec ?? []).join(" ");
  const [first = "", ...more] = command.split("\n");
  return more.length > 0 || first.length > 72 ? `${first.slice(0, 71)}…` : first;
}
