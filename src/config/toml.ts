/** TOML text into a value, with every complaint of the parser turned into a problem in capsa's words. */
import toml from "toml";
import type { Position } from "./positions.ts";
import type { PlacedProblem } from "./problem.ts";

type Parsed = { readonly value: unknown; readonly problem?: never } | { readonly problem: PlacedProblem };

export function parseToml(text: string): Parsed {
  try {
    return { value: toml.parse(text) };
  } catch (error) {
    return { problem: describe(error as ParserError) };
  }
}

/** What `toml` throws: the grammar's errors have `location`, those about meaning `line` and `column`. */
interface ParserError extends Error {
  readonly location?: { readonly start: Position };
  readonly line?: number;
  readonly column?: number;
  readonly found?: string | null;
}

function describe(error: ParserError): PlacedProblem {
  const place = error.location?.start ?? { line: error.line ?? 1, column: error.column ?? 1 };
  return {
    line: place.line,
    column: place.column,
    key: "",
    ...(error.location ? syntax(error) : meaning(error)),
  };
}

function syntax(error: ParserError): Pick<PlacedProblem, "message" | "hint"> {
  const found = error.found;
  if (found === null || found === undefined) return { message: "the file ends too early" };
  if (found === "\n" || found === "\r")
    return {
      message: "the line ends too early",
      hint: "a text needs its closing quote, a list its ], a key its = and a value",
    };
  return {
    message: `${JSON.stringify(found)} cannot stand here: this is not TOML`,
    hint: 'texts are written in quotes ("…"), lists as [1, 2], tables as { a = 1 }; see https://toml.io',
  };
}

function meaning(error: ParserError): Pick<PlacedProblem, "message" | "hint"> {
  const key = /'(.*)'/.exec(error.message)?.[1];
  if (key !== undefined && /redefine/.test(error.message)) {
    return {
      message: `"${key}" is defined twice`,
      hint: "keep one of the two; a list of tables needs [[double brackets]]",
    };
  }
  if (key !== undefined && /extend/.test(error.message)) {
    return {
      message: `"${key}" is already complete and cannot be added to`,
      hint: "write its keys in one place",
    };
  }
  return { message: error.message.replace(/\.?$/, "").replace(/ Use the `bigint` option.*/, "") };
}
