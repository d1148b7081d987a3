/** What is wrong with a `capsa.toml`: problems with their places, and how they are told. */
import { CapsaError } from "../errors/errors.ts";
import { printable } from "../errors/printable.ts";
import type { Position } from "./positions.ts";

export interface Problem extends Position {
  /** Dotted path of the key, "" where the file as a whole is meant. */
  readonly key: string;
  /** What is wrong and why, one sentence. */
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
  readonly problems: readonly Problem[];

  constructor(
    code: "CONFIG_UNREADABLE" | "CONFIG_INVALID" | "GUEST_LINK",
    file: string,
    message: string,
    options: { hint?: string | undefined; problems?: readonly Problem[] } = {},
  ) {
    super(code, message, { hint: options.hint });
    this.file = file;
    this.problems = options.problems ?? [];
  }
}

export function sortProblems(problems: readonly Problem[]): Problem[] {
  return [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
}

/** Each problem as `file:line:column: message`, the line it is on, and what to do. */
export function formatProblems(file: string, source: string, problems: readonly Problem[]): string {
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
