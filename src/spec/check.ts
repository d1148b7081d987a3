/** Checks a value against a TypeBox schema and says, in words of its own, everything that is wrong. */
import { KindGuard, type TObject, type TRecord, type TSchema, type TUnion } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { shown } from "../errors/printable.ts";
import { suggest } from "../errors/suggest.ts";
import type { Path, Problem } from "./problem.ts";

/** All the ways `value`, which is at `path`, breaks `schema`; none exactly when TypeBox's own check passes. */
export function* check(schema: TSchema, value: unknown, path: Path = []): Generator<Problem> {
  if (KindGuard.IsUnion(schema)) yield* checkUnion(schema, value, path);
  else if (KindGuard.IsObject(schema) && isTable(value)) yield* checkTable(schema, value, path);
  else if (KindGuard.IsRecord(schema) && isTable(value)) yield* checkRecord(schema, value, path);
  else if (KindGuard.IsArray(schema) && Array.isArray(value) && value.length >= (schema.minItems ?? 0)) {
    for (const [index, element] of value.entries()) yield* check(schema.items, element, [...path, index]);
  } else if (!Value.Check(schema, value)) yield refusal(schema, value, path);
}

function* checkUnion(schema: TUnion, value: unknown, path: Path): Generator<Problem> {
  if (Value.Check(schema, value)) return;
  // an alternative of the same shape has more to say than "none of these"
  const alike = schema.anyOf.find((option) => shape(option) !== "other" && shape(option) === shapeOf(value));
  if (alike) yield* check(alike, value, path);
  else yield refusal(schema, value, path);
}

function* checkTable(schema: TObject, value: Record<string, unknown>, path: Path): Generator<Problem> {
  const known = schema.properties;
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(known, key)) yield unknownKey(key, Object.keys(known), path);
    else if (value[key] !== undefined) yield* check(known[key]!, value[key], [...path, key]);
  }
  for (const key of schema.required ?? []) {
    if (Object.hasOwn(value, key) && value[key] !== undefined) continue;
    const expected = known[key]?.expected;
    yield {
      path: [...path, key],
      message: "is missing",
      ...(expected ? { hint: `add ${key}: ${expected}` } : {}),
    };
  }
}

function* checkRecord(schema: TRecord, value: Record<string, unknown>, path: Path): Generator<Problem> {
  const [[pattern, element]] = Object.entries(schema.patternProperties) as [[string, TSchema]];
  const keys = Object.keys(value);
  for (const key of keys) {
    if (new RegExp(pattern).test(key)) yield* check(element, value[key], [...path, key]);
    else {
      yield {
        path: [...path, key],
        message: "is not a valid name",
        ofKey: true,
        ...(schema.names ? { hint: `a name is ${schema.names}` } : {}),
      };
    }
  }
  if (keys.length < (schema.minProperties ?? 0)) yield refusal(schema, value, path);
}

function unknownKey(key: string, known: string[], path: Path): Problem {
  const meant = suggest(key, known);
  const hint = meant ? `did you mean "${meant}"?` : `known here: ${[...known].sort().join(", ")}`;
  return { path: [...path, key], message: "unknown key", ofKey: true, hint };
}

function refusal(schema: TSchema, value: unknown, path: Path): Problem {
  const meant = typeof value === "string" ? suggest(value, literals(schema)) : undefined;
  return {
    path,
    message: refused(schema, value),
    ...(meant ? { hint: `did you mean "${meant}"?` } : {}),
  };
}

/** The sentence that says so. */
export function refused({ expected }: TSchema, value: unknown): string {
  return `must be ${expected}, not ${describe(value)}`;
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

/** A value as an error message shows it. */
function describe(value: unknown): string {
  if (value instanceof Date) return "a date";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (isTable(value)) return Object.keys(value).length === 0 ? "an empty table" : "a table";
  if (typeof value === "string") {
    return value.length > 40 ? `the text ${JSON.stringify(value.slice(0, 37))}…` : JSON.stringify(value);
  }
  return shown(value);
}

/** Texts that no program of Linux can be given, anywhere in what a schema has accepted. */
export function* unfitTexts(value: unknown, path: Path = []): Generator<Problem> {
  if (typeof value === "string") {
    if (value.includes("\0")) yield { path, message: "contains a NUL character" };
    else if (!value.isWellFormed())
      yield { path, message: "contains half a surrogate pair, which is not valid text" };
  } else if (Array.isArray(value)) {
    for (const [index, element] of value.entries()) yield* unfitTexts(element, [...path, index]);
  } else if (isTable(value)) {
    for (const [key, inner] of Object.entries(value)) yield* unfitTexts(inner, [...path, key]);
  }
}
