/** Checks a value against a TypeBox schema and says, in words of its own and with places, everything that is wrong. */
import { KindGuard, type TObject, type TRecord, type TSchema, type TUnion } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { Positions } from "../config/positions.ts";
import type { Problem } from "../config/problem.ts";
import type { Path } from "./forms.ts";
import { suggest } from "./suggest.ts";

/** All the ways `value` breaks `schema`; empty exactly when TypeBox's own check passes. */
export function validate(schema: TSchema, value: unknown, positions: Positions): Problem[] {
  return [...check(schema, value, [], positions)];
}

function* check(schema: TSchema, value: unknown, path: Path, positions: Positions): Generator<Problem> {
  if (KindGuard.IsUnion(schema)) yield* checkUnion(schema, value, path, positions);
  else if (KindGuard.IsObject(schema) && isTable(value)) yield* checkTable(schema, value, path, positions);
  else if (KindGuard.IsRecord(schema) && isTable(value)) yield* checkRecord(schema, value, path, positions);
  else if (KindGuard.IsArray(schema) && Array.isArray(value) && value.length >= (schema.minItems ?? 0)) {
    for (const [index, element] of value.entries()) {
      yield* check(schema.items, element, [...path, index], positions);
    }
  } else if (!Value.Check(schema, value)) yield refusal(schema, value, path, positions);
}

function* checkUnion(schema: TUnion, value: unknown, path: Path, positions: Positions): Generator<Problem> {
  if (Value.Check(schema, value)) return;
  // an alternative of the same shape has more to say than "none of these"
  const alike = schema.anyOf.find((option) => shape(option) !== "other" && shape(option) === shapeOf(value));
  if (alike) yield* check(alike, value, path, positions);
  else yield refusal(schema, value, path, positions);
}

function* checkTable(
  schema: TObject,
  value: Record<string, unknown>,
  path: Path,
  positions: Positions,
): Generator<Problem> {
  const known = schema.properties;
  for (const key of Object.keys(value)) {
    if (Object.hasOwn(known, key)) yield* check(known[key]!, value[key], [...path, key], positions);
    else yield unknownKey(key, Object.keys(known), path, positions);
  }
  for (const key of schema.required ?? []) {
    if (Object.hasOwn(value, key)) continue;
    const expected = known[key]?.expected;
    yield {
      ...(positions.key(path) ?? positions.nearest(path)),
      key: dotted([...path, key]),
      message: `${subject(path)} lacks ${key}`,
      ...(expected ? { hint: `add ${key}: ${expected}` } : {}),
    };
  }
}

function* checkRecord(
  schema: TRecord,
  value: Record<string, unknown>,
  path: Path,
  positions: Positions,
): Generator<Problem> {
  const [[pattern, element]] = Object.entries(schema.patternProperties) as [[string, TSchema]];
  const keys = Object.keys(value);
  for (const key of keys) {
    if (new RegExp(pattern).test(key)) yield* check(element, value[key], [...path, key], positions);
    else {
      yield {
        ...positions.nearest([...path, key]),
        key: dotted([...path, key]),
        message: `${JSON.stringify(key)} cannot be a name in ${dotted(path)}`,
        ...(schema.names ? { hint: `a name is ${schema.names}` } : {}),
      };
    }
  }
  if (keys.length < (schema.minProperties ?? 0)) yield refusal(schema, value, path, positions);
}

function unknownKey(key: string, known: string[], path: Path, positions: Positions): Problem {
  const meant = suggest(key, known);
  return {
    ...positions.nearest([...path, key]),
    key: dotted([...path, key]),
    message: `unknown key "${key}"${path.length > 0 ? ` in ${dotted(path)}` : ""}`,
    hint: meant ? `did you mean "${meant}"?` : `known here: ${[...known].sort().join(", ")}`,
  };
}

function refusal(schema: TSchema, value: unknown, path: Path, positions: Positions): Problem {
  const meant = typeof value === "string" ? suggest(value, literals(schema)) : undefined;
  return {
    ...(positions.value(path) ?? positions.nearest(path)),
    key: dotted(path),
    message: `${subject(path)} must be ${schema.expected}, not ${describe(value)}`,
    ...(meant ? { hint: `did you mean "${meant}"?` } : {}),
  };
}

function literals(schema: TSchema): string[] {
  if (KindGuard.IsLiteral(schema)) return [String(schema.const)];
  return KindGuard.IsUnion(schema) ? schema.anyOf.flatMap(literals) : [];
}

function shape(schema: TSchema): string {
  if (KindGuard.IsArray(schema)) return "array";
  return KindGuard.IsObject(schema) ? "table" : "other";
}

function shapeOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return isTable(value) ? "table" : "other";
}

export function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function subject(path: Path): string {
  return path.length > 0 ? dotted(path) : "the file";
}

/** A value as an error message shows it. */
function describe(value: unknown): string {
  if (value instanceof Date) return "a date";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (isTable(value)) return Object.keys(value).length === 0 ? "an empty table" : "a table";
  if (typeof value === "string") {
    return value.length > 40 ? `the text ${JSON.stringify(value.slice(0, 37))}…` : JSON.stringify(value);
  }
  return String(value);
}

/** `steps[2].expect.exitCode`; keys that are not bare are quoted. */
export function dotted(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === "number") return `[${part + 1}]`;
      return (index > 0 ? "." : "") + (/^[A-Za-z0-9_-]+$/.test(part) ? part : JSON.stringify(part));
    })
    .join("");
}
