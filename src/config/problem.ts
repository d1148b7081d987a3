/** What is wrong with a `capsa.toml`: problems with their places, and how they are told. */
import { CapsaError } from "../errors/errors.ts";
import { printable } from "../errors/printable.ts";
import type { Path, Problem } from "../spec/problem.ts";
import type { Position, Positions } from "./positions.ts";

export interface PlacedProblem extends Position {
  /** Dotted path of the key, "" where the file as a whole is meant. */
  readonly key: string;
  /** The key, and what is wrong and why, one sentence. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
}

/**
 * The file cannot be read (`CONFIG_UNREADABLE`; `GUEST_LINK` where a guest may have made a link to it) or is wrong
 * (`CONFIG_INVALID`, with every problem, in order of lines).
 */
export class ConfigError extends CapsaError {
  override readonly name = "ConfigError";
  readonly file: string;
  readonly problems: readonly PlacedProblem[];

  constructor(
    code: "CONFIG_UNREADABLE" | "CONFIG_INVALID" | "GUEST_LINK",
    file: string,
    message: string,
    options: { hint?: string | undefined; problems?: readonly PlacedProblem[] } = {},
  ) {
    super(code, message, { hint: options.hint });
    this.file = file;
    this.problems = options.problems ?? [];
  }
}

/** A problem where it is in the file: at the key where it is about that, and else at the value, if that is there. */
export function placed({ path, message, hint, ofKey }: Problem, positions: Positions): PlacedProblem {
  const position = (ofKey ? undefined : positions.value(path)) ?? positions.nearest(path);
  const key = dotted(path);
  return { ...position, key, message: `${key}: ${message}`, ...(hint ? { hint } : {}) };
}

/** `steps[2].expect.exitCode`; keys that are not bare are quoted. */
export function dotted(path: Path): string {
  if (path.length === 0) return "the file";
  return path
    .map((part, index) => {
      if (typeof part === "number") return `[${part + 1}]`;
      return (index > 0 ? "." : "") + (/^[A-Za-z0-9_-]+$/.test(part) ? part : JSON.stringify(part));
    })
    .join("");
}

export function sortProblems(problems: readonly PlacedProblem[]): PlacedProblem[] {
  return [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
}

/** Each problem as `file:line:column: message`, the line it is on, and what to do. */
export function formatProblems(file: string, source: string, problems: readonly PlacedProblem[]): string {
  const lines = source.split(/\r?\n/);
  return problems
    .map(({ line, column, message, hint }) => {
      const told = [`${file}:${line}:${column}: ${message}`];
      const text = lines[line - 1];
      if (text?.trim()) {
        const margin = " ".repeat(String(line).length);
        // tabs stay tabs so that the mark stands under its place
        const lead = printable(text.slice(0, column - 1)).replace(/[^\t]/g, " ");
        told.push(`  ${line} | ${printable(text)}`, `  ${margin} | ${lead}^`);
      }
      if (hint) told.push(`  ${hint}`);
      return told.join("\n");
    })
    .join("\n");
}
