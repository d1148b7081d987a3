/**
 * One key of a table that people write: what it is called in `capsa.toml` and in a specification, what it may be, what it
 * means. Schemas, checks and defaults of both forms are made of lists of these.
 */
import { type TObject, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { check, refused, unfitTexts } from "./check.ts";
import { closed } from "./forms.ts";
import { type Path, type Report, refuseFirst, reporter } from "./problem.ts";
import type { Unit } from "./units.ts";

/** Who gives the values: a `capsa.toml`, or a program in TypeScript. */
export type Side = "toml" | "typescript";

/** Where values come from. */
export interface Context {
  readonly side: Side;
  readonly report: Report;
  /** Absolute path of the directory at which relative paths start; absent: the working directory, which may be gone. */
  readonly base?: string;
  /** The `capsa.toml`, where there is one, by its absolute path. */
  readonly file?: string;
  /** Of the sandbox. */
  readonly name?: string;
}

export interface Key {
  /** In `capsa.toml`; absent: it has none. */
  readonly name?: string;
  /** In a specification; absent: it goes by its name. */
  readonly field?: string;
  /** What it may be as people write it, with its description. */
  readonly schema: TSchema;
  /** What it may be in a specification, where that is another form than the written one. */
  readonly plain?: TSchema;
  readonly required?: true;
  /** In a specification. */
  readonly default?: unknown;
  /** A list of tables, of which `parse` takes those that are right. */
  readonly partly?: true;
  /**
   * From what was given, and `schema` or `plain` accepts, to what the specification has. What more is wrong with it, which no
   * schema can say, is reported.
   */
  readonly parse?: (given: never, path: Path, context: Context) => unknown;
  /** What a stranger may know of it, by the names under which it is told. */
  readonly tell?: (value: never, created: Date) => Readonly<Record<string, unknown>>;
}

/** A key whose value is a number, as one or as a text with its unit. */
export interface Quantity extends Key {
  readonly unit?: Unit;
  readonly least: number;
  readonly most: number;
}

/** `example` is for the words of an error; `unit`: without, it is a count. */
export function quantity(
  given: Pick<Quantity, "name" | "field" | "unit" | "least" | "most" | "tell"> & {
    readonly words: string;
    readonly default?: number;
    readonly example?: string;
  },
): Quantity {
  const { words, unit, least, most, example, ...rest } = given;
  const shown = (value: number) => (unit === undefined ? String(value) : `"${unit.show(value)}"`);
  const initially = given.default === undefined ? "" : ` (default ${shown(given.default)})`;
  const description = `${words}${initially}.`;
  const range = `from ${shown(least)} to ${shown(most)}`;
  const number = { minimum: least, maximum: most };
  const schema =
    unit === undefined
      ? Type.Integer({ ...number, description, expected: `a whole number ${range}` })
      : Type.Union([Type.Integer(number), Type.String({ pattern: unit.pattern })], {
          description,
          expected: `${range}, such as "${example}" (a plain number counts ${unit.counts})`,
        });
  return {
    ...rest,
    ...(unit === undefined ? {} : { unit }),
    least,
    most,
    schema,
    parse: (value: number | string, path, { report }) => {
      const parsed = typeof value === "number" ? value : unit!.parse(value)!;
      if (!(parsed >= least && parsed <= most)) report(path, refused(schema, value));
      return parsed;
    },
  };
}

/** What `keys` are called on that side; undefined where a key is none of it. */
function nameOn({ name, field }: Key, side: Side): string | undefined {
  return side === "toml" ? name : (field ?? name);
}

/** The schema of a table of these keys. */
export function tableSchema(
  keys: readonly Key[],
  side: Side,
  options: { description?: string; expected: string },
): TObject {
  const properties = keys.flatMap((key) => {
    const name = nameOn(key, side);
    const schema = schemaOn(key, side);
    return name === undefined ? [] : [[name, key.required ? schema : Type.Optional(schema)] as const];
  });
  return Type.Object(Object.fromEntries(properties), { ...closed, ...options });
}

function schemaOn({ schema, plain = schema }: Key, side: Side): TSchema {
  return side === "toml" ? schema : plain;
}

/**
 * The values of a table in their specification's form, with defaults. What a schema refuses is left out: it has been
 * reported, and is no reason to leave the rest unchecked.
 */
export function resolveTable(
  keys: readonly Key[],
  given: Readonly<Record<string, unknown>>,
  path: Path,
  context: Context,
): Record<string, unknown> {
  const resolved: Record<string, unknown> = {};
  for (const key of keys) {
    const name = nameOn(key, context.side);
    const field = key.field ?? key.name!;
    const value = name === undefined || !Object.hasOwn(given, name) ? undefined : given[name];
    const right =
      value !== undefined &&
      (key.partly ? Array.isArray(value) : Value.Check(schemaOn(key, context.side), value));
    const parsed = right ? (key.parse?.(value as never, [...path, name!], context) ?? value) : key.default;
    if (parsed !== undefined) resolved[field] = parsed;
  }
  return resolved;
}

/** The same of each table in a list that is right, at its place: what is wrong leaves a hole. */
export function resolveList(
  keys: readonly Key[],
  schema: TSchema,
  given: readonly unknown[],
  path: Path,
  context: Context,
): Record<string, unknown>[] {
  const resolved: Record<string, unknown>[] = [];
  for (const [index, table] of given.entries()) {
    if (Value.Check(schema, table))
      resolved[index] = resolveTable(keys, table as Record<string, unknown>, [...path, index], context);
  }
  return resolved;
}

/**
 * From TypeScript: what `resolve` makes of it. `side`: whose names the keys have. Throws `SpecError` for the first thing that
 * is wrong with it.
 */
export function fromTypeScript<T>(
  schema: TSchema,
  given: object,
  resolve: (context: Context) => T,
  side: Side = "typescript",
): T {
  const problems = [...check(schema, given), ...unfitTexts(given)];
  const resolved = resolve({ side, report: reporter(problems) });
  refuseFirst(problems);
  return resolved;
}

/** What a stranger may know, by all the keys. */
export function tellTable(
  keys: readonly Key[],
  values: Readonly<Record<string, unknown>>,
  created: Date,
): Record<string, unknown> {
  const told = keys.flatMap(({ name, field = name!, tell }) => {
    const value = values[field];
    return tell === undefined || value === undefined ? [] : Object.entries(tell(value as never, created));
  });
  return Object.fromEntries(told);
}
