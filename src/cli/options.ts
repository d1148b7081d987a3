/** Values of command-line options that are more than text. */
import { InvalidArgumentError } from "commander";
import { parseWantedLabel, type WantedLabel } from "../spec/labels.ts";
import { parseDuration, parseMemory, parseSize } from "../spec/units.ts";

/** "500ms", "30s", "5m", "1h" in milliseconds. */
export function parseTimeout(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined)
    throw new InvalidArgumentError('Give a time with its unit: "500ms", "30s", "5m", "1h".');
  return ms;
}

/** "64M", "1G" in MiB. */
export function parseMegabytes(text: string): number {
  const megabytes = parseMemory(text);
  if (!megabytes) throw new InvalidArgumentError('Give a size with its unit: "64M", "1G".');
  return megabytes;
}

/** "64K", "1M", "1G" in bytes. */
export function parseBytes(text: string): number {
  const bytes = parseSize(text);
  if (!bytes) throw new InvalidArgumentError('Give a size with its unit: "64K", "1M", "1G".');
  return bytes;
}

export function parseCount(text: string): number {
  if (!/^[1-9][0-9]{0,6}$/.test(text)) throw new InvalidArgumentError("Give a whole number of at least 1.");
  return Number(text);
}

/** An option that may be given several times. */
export function collect<T>(
  parse: (text: string) => T,
): (text: string, before?: readonly T[]) => readonly T[] {
  return (text, before = []) => [...before, parse(text)];
}

/** What `--label` chooses by. */
export function parseLabel(text: string): WantedLabel {
  const label = parseWantedLabel(text);
  if (label === undefined) throw new InvalidArgumentError("Give NAME=VALUE, or NAME for any value.");
  return label;
}

/** Collects KEY=VALUE; a bare KEY takes its value from this process's environment. */
export function collectEnvironment(
  text: string,
  before: Record<string, string> = {},
): Record<string, string> {
  const at = text.indexOf("=");
  if (at === 0 || text === "") throw new InvalidArgumentError("Give KEY=VALUE.");
  if (at > 0) return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
  const value = process.env[text];
  if (value === undefined) throw new InvalidArgumentError(`${text} is not set here; give ${text}=VALUE.`);
  return { ...before, [text]: value };
}
