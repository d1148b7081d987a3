/** Values of command-line options that are more than text. */
import { InvalidArgumentError } from "commander";
import { parseDuration } from "../config/units.ts";

/** "500ms", "30s", "5m", "1h" in milliseconds. */
export function parseTimeout(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined)
    throw new InvalidArgumentError('A time with its unit is wanted: "500ms", "30s", "5m", "1h".');
  return ms;
}

/** Collects KEY=VALUE; a bare KEY takes its value from this process's environment. */
export function collectEnvironment(
  text: string,
  before: Record<string, string> = {},
): Record<string, string> {
  const at = text.indexOf("=");
  if (at === 0 || text === "") throw new InvalidArgumentError("KEY=VALUE is wanted.");
  if (at > 0) return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
  const value = process.env[text];
  if (value === undefined) throw new InvalidArgumentError(`${text} is not set here; give ${text}=VALUE.`);
  return { ...before, [text]: value };
}
