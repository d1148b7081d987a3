/** The kinds of steps, and all that is made of their list: the schema of a [[steps]] table, and steps of such tables. */
import { KindGuard, type TProperties, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { LONGEST_MS } from "../errors/check.ts";
import { suggest } from "../errors/suggest.ts";
import { closed, duration, optional, type Path, type Reporter, text } from "../spec/forms.ts";
import { parseDuration } from "../spec/units.ts";
import { assert } from "./assert.ts";
import { exec } from "./exec.ts";
import type { StepKind, StepOf, StepSandbox } from "./kind.ts";
import { wait } from "./wait.ts";
import { write } from "./write.ts";

/** By the key of a [[steps]] table that makes a step one of the kind. */
export const kinds = { exec, write, assert, wait } as const;

type Kinds = typeof kinds;
export type Verb = keyof Kinds;
export type Step = { [V in Verb]: StepOf<V, ReturnType<Kinds[V]["resolve"]>> }[Verb];

const TIMEOUT_MS = 600_000;
const verbs = Object.keys(kinds) as Verb[];

/** "exec, write and assert" */
function listed(words: readonly string[], last: string): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
}

function keysOf(verb: Verb): Readonly<Record<string, TSchema>> {
  return kinds[verb].schema.properties;
}

/** The keys of all kinds, and for editors what {@link resolveSteps} checks: one kind a step, and no keys of another. */
function stepSchema() {
  const properties: TProperties = {};
  const dependentRequired: Record<string, string[]> = {};
  for (const verb of verbs)
    for (const [key, schema] of Object.entries(keysOf(verb))) {
      properties[key] = optional(schema);
      if (key !== verb) dependentRequired[key] = [verb];
    }
  return Type.Object(
    {
      name: optional(
        Type.String({ description: "Name in reports.", minLength: 1, expected: "a name in quotes" }),
      ),
      sandbox: optional(text("Sandbox to run in. Needed only if the file has several.")),
      timeout: optional(duration('How long it may take (default "10m").')),
      ...properties,
    },
    {
      ...closed,
      description: `One step: exactly one of ${listed(verbs, "and")}.`,
      expected: "a [[steps]] table",
      oneOf: verbs.map((verb) => ({ required: [verb] })),
      dependentRequired,
    },
  );
}

export const StepSchema = stepSchema();

interface Context {
  readonly sandboxes: readonly StepSandbox[];
  /** Directory of the file. */
  readonly base: string;
  /** Line of a table. */
  readonly lineOf: (path: Path) => number;
  readonly report: Reporter;
}

/** The steps among `tables` that the schema accepts; what is wrong with the others has been reported already. */
export function resolveSteps(tables: readonly unknown[], context: Context): Step[] {
  return tables.flatMap((table, index) =>
    Value.Check(StepSchema, table) ? (resolveStep(table, ["steps", index], context) ?? []) : [],
  );
}

/** A table of {@link StepSchema}. */
type StepTable = Readonly<Record<string, unknown>> & {
  readonly name?: string;
  readonly sandbox?: string;
  readonly timeout?: string;
};

function resolveStep(table: StepTable, path: Path, context: Context): Step | undefined {
  const { report, base } = context;
  const target = resolveTarget(table.sandbox, path, context);
  const given = verbs.filter((verb) => table[verb] !== undefined);
  const [verb, second] = given;
  if (verb === undefined) {
    const forms = verbs.map((key) => `${key} = ${KindGuard.IsObject(keysOf(key)[key]) ? "{ … }" : '"…"'}`);
    report(path, "this step does nothing", `give it one of ${listed(forms, "and")}`);
    return undefined;
  }
  if (second !== undefined) {
    report(
      [...path, second],
      `a step does one thing, and this one has ${given.join(" and ")}`,
      "make them steps of their own",
    );
    return undefined;
  }
  for (const key of Object.keys(table)) {
    const owner = verbs.find((other) => key in keysOf(other));
    if (owner !== undefined && owner !== verb)
      report([...path, key], `${key} belongs to ${owner}, and this step has ${verb}`);
  }
  const timeoutMs = table.timeout === undefined ? TIMEOUT_MS : (parseDuration(table.timeout) ?? 0);
  if (timeoutMs === 0) report([...path, "timeout"], "must be greater than 0");
  if (timeoutMs > LONGEST_MS) report([...path, "timeout"], "a step can take at most 596h");
  const kind = kinds[verb] as unknown as StepKind<object>;
  return {
    verb,
    name: table.name ?? kind.title(table),
    sandbox: target.name,
    timeoutMs,
    line: context.lineOf(path),
    ...kind.resolve(table, { path, base, sandbox: target.sandbox, report }),
  } as Step;
}

function resolveTarget(
  wanted: string | undefined,
  path: Path,
  { sandboxes, report }: Context,
): { name: string; sandbox: StepSandbox | undefined } {
  const names = sandboxes.map(({ name }) => name);
  if (wanted !== undefined) {
    const sandbox = sandboxes.find(({ name }) => name === wanted);
    if (sandbox === undefined) {
      const meant = suggest(wanted, names);
      report(
        [...path, "sandbox"],
        `there is no sandbox "${wanted}"`,
        meant ? `did you mean "${meant}"?` : `there are: ${names.join(", ")}`,
      );
    }
    return { name: wanted, sandbox };
  }
  if (names.length > 1) {
    report(
      path,
      "the file has several sandboxes, and the step must say which",
      `add sandbox = "${names[0]}"`,
    );
  }
  return { name: names[0] ?? "", sandbox: sandboxes[0] };
}
