/** What callers give, checked before it is sent. */

import { ArgumentError } from "./errors.ts";
import { shown } from "./printable.ts";
import { suggest } from "./suggest.ts";

/** A timer takes no longer one: it would go off at once. */
export const LONGEST_MS = 2 ** 31 - 1;

/** Throws `ArgumentError` for what is no absolute path. */
export function checkPath(path: unknown): void {
  if (!checkText("a path in the guest", path).startsWith("/"))
    throw new ArgumentError(`a path in the guest should be absolute, not ${shown(path)}`);
}

/** The text, which is some that can be sent as it is: no half of a character beyond the first 65536, and no NUL. */
export function checkText(what: string, value: unknown): string {
  if (typeof value !== "string") throw new ArgumentError(`${what} should be a string, not ${shown(value)}`);
  if (value.includes("\0")) throw new ArgumentError(`${what} contains a NUL character`);
  if (!value.isWellFormed())
    throw new ArgumentError(`${what} contains half a surrogate pair, which is not valid text`);
  return value;
}

/** Throws `ArgumentError` for what is no whole number of the range; `undefined` is none to be checked. */
export function checkWhole(
  what: string,
  value: unknown,
  least = 0,
  most: number = Number.MAX_SAFE_INTEGER,
): void {
  if (value === undefined) return;
  if (typeof value !== "number" || !(Number.isInteger(value) && value >= least && value <= most)) {
    const range = most === Number.MAX_SAFE_INTEGER ? `${least} on` : `${least} to ${most}`;
    throw new ArgumentError(`${what} should be a whole number from ${range}, not ${shown(value)}`);
  }
}

/** Something with members that have names. */
export function checkObject(what: string, value: unknown): void {
  if (value === undefined) return;
  if (typeof value !== "object" || value === null || Array.isArray(value) || ArrayBuffer.isView(value))
    throw new ArgumentError(
      `${what} should be an object, not ${Array.isArray(value) ? "a list" : shown(value)}`,
    );
}

/** What the options of a call are: where they stand among its arguments, and their names. */
export interface Options {
  readonly at: number;
  readonly names: readonly string[];
}

/** `names` has each option of the type, and no other: the compiler sees to it. */
export function named<Type>(at: number, names: { readonly [Name in keyof Type]-?: true }): Options {
  return { at, names: Object.keys(names) };
}

/** What they are called elsewhere. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  ...{ workdir: "cwd", workingDir: "cwd", workingDirectory: "cwd", dir: "cwd" },
  ...{ environment: "env", envs: "env", envVars: "env", runAs: "user", uid: "user" },
  ...{
    timeout: "timeoutMs",
    timeoutSeconds: "timeoutMs",
    input: "stdin",
    tty: "pty",
    maxBuffer: "maxOutput",
  },
};

/** Options that are misspelt would do nothing, without a word. Throws `ArgumentError`, whose hint has the one that was meant. */
export function checkOptions(call: string, given: unknown, known: readonly string[]): void {
  checkObject(`${call}'s options`, given);
  const unknown = Object.keys(given ?? {}).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const other = ELSEWHERE[unknown];
  const meant = other !== undefined && known.includes(other) ? other : suggest(unknown, known);
  throw new ArgumentError(`${call} has no option ${shown(unknown)}`, {
    hint: meant === undefined ? `it has ${known.join(", ")}` : `it has "${meant}"`,
  });
}

/** A limit in milliseconds, of up to 24 days. */
export function checkTime(what: string, ms: unknown): void {
  if (ms === undefined) return;
  if (typeof ms !== "number" || !(ms >= 0 && ms <= LONGEST_MS))
    throw new ArgumentError(`${what} should be a number from 0 to ${LONGEST_MS} ms, not ${shown(ms)}`);
}

export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new ArgumentError(`signal should be an AbortSignal, not ${shown(signal)}`);
}

/** Permission bits, set-id and sticky ones too. */
export function checkMode(mode: unknown): void {
  checkWhole("mode", mode, 0, 0o7777);
}

/** Ids of a user and a group. */
export function checkOwner(user: unknown, group: unknown): void {
  checkWhole("user", user, 0, 0xfffffffe);
  checkWhole("group", group, 0, 0xfffffffe);
}
