/** What a caller wants run, checked and put as the guest wants it. */

import { checkObject, checkText, checkTime, checkWhole } from "../../errors/check.ts";
import { ArgumentError } from "../../errors/errors.ts";
import { shown } from "../../errors/printable.ts";
import { MAX_WINDOW, PROGRAM_WINDOW } from "../../wire/call.ts";
import type { Message } from "../../wire/framing.ts";
import type { DetachOptions, Limits, SpawnOptions, TerminalSize } from "../api.ts";

const DEFAULT_SIZE: TerminalSize = { columns: 80, rows: 24 };
const MIB = 1024 ** 2;
/** The least share of a processor that the guest's kernel can give, thousandths. */
const LEAST_CPU = 10;

export interface ProgramRequest extends Message {
  readonly op: "exec";
  readonly argv: readonly string[];
}

/** The request of an exec. Throws `ArgumentError` on what is not one. */
export function programRequest(
  command: string | readonly string[],
  options: SpawnOptions | DetachOptions,
): { request: ProgramRequest; window: number } {
  const argv = typeof command === "string" ? ["/bin/sh", "-c", command] : words(command);
  checkTexts(argv, options);
  const { env, clearEnv, cwd, user, group, timeoutMs, limits, pty } = options;
  const numbers = { ...(typeof user === "string" ? {} : { user }), group };
  for (const [what, value] of Object.entries(numbers)) checkWhole(what, value, 0, 0xffffffff);
  checkWhole("timeoutMs", timeoutMs);
  checkTime("timeoutMs", timeoutMs);
  const request: ProgramRequest = {
    op: "exec",
    argv,
    env,
    clearEnv,
    cwd,
    user,
    group,
    stdin: wantsInput(options) ? true : undefined,
    timeoutMs,
    limits: limits === undefined ? undefined : limitsOf(limits),
    pty: pty ? terminalSize(pty === true ? DEFAULT_SIZE : pty) : undefined,
    detach: "detach" in options && options.detach ? true : undefined,
  };
  return { request, window: checkWindow("window" in options ? options.window : undefined) };
}

export function wantsInput({ stdin, pty }: SpawnOptions): boolean {
  return stdin !== undefined || Boolean(pty);
}

export function terminalSize({ columns, rows }: TerminalSize): TerminalSize {
  checkWhole("columns", columns, 1, 0xffff);
  checkWhole("rows", rows, 1, 0xffff);
  return { columns, rows };
}

/** The default where there is none. */
export function checkWindow(window = PROGRAM_WINDOW): number {
  if (!(Number.isInteger(window) && window >= 4096 && window <= MAX_WINDOW)) {
    throw new ArgumentError(`window should be from 4096 to ${MAX_WINDOW} bytes, not ${shown(window)}`);
  }
  return window;
}

function words(command: unknown): readonly unknown[] {
  if (!Array.isArray(command))
    throw new ArgumentError(`a command should be a string or a list of strings, not ${shown(command)}`);
  if (command.length === 0) throw new ArgumentError("a command is a list that is not empty");
  return [...command];
}

function checkTexts(
  argv: readonly unknown[],
  { env, cwd, user }: SpawnOptions,
): asserts argv is readonly string[] {
  for (const [index, argument] of argv.entries()) checkText(`argument ${index}`, argument);
  checkObject("env", env);
  for (const [name, value] of Object.entries(env ?? {})) {
    if (checkText("the name of an environment variable", name) === "" || name.includes("="))
      throw new ArgumentError(`${shown(name)} is no name of an environment variable`);
    checkText(`environment variable ${name}`, value);
  }
  if (cwd !== undefined) checkText("cwd", cwd);
  if (typeof user === "string") checkText("user", user);
}

function limitsOf(limits: Limits): Message {
  const { memoryMb, cpus, pids, ...others } = limits;
  // a limit that is misspelt would be no limit
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new ArgumentError(`"${unknown}" is no limit; there are memoryMb, cpus and pids`);
  checkWhole("limits.memoryMb", memoryMb, 1, 2 ** 28);
  checkWhole("limits.pids", pids, 1, 2 ** 22);
  if (cpus !== undefined && !(typeof cpus === "number" && cpus > 0 && cpus <= 4096)) {
    throw new ArgumentError(`limits.cpus should be a number above 0, not ${shown(cpus)}`);
  }
  return {
    memory: memoryMb === undefined ? undefined : memoryMb * MIB,
    cpuMilli: cpus === undefined ? undefined : Math.max(LEAST_CPU, Math.round(cpus * 1000)),
    pids,
  };
}
