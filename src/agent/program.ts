/** What a caller wants run, checked and put as the guest wants it. */

import type { DetachOptions, Limits, SpawnOptions, TerminalSize } from "./api.ts";
import { MAX_WINDOW, PROGRAM_WINDOW } from "./call.ts";
import { checkWhole } from "./check.ts";
import type { Message } from "./framing.ts";

const DEFAULT_SIZE: TerminalSize = { columns: 80, rows: 24 };
const MIB = 1024 ** 2;
/** The least share of a processor that the guest's kernel can give, thousandths. */
const LEAST_CPU = 10;

export interface ProgramRequest extends Message {
  readonly op: "exec";
  readonly argv: readonly string[];
}

/** The request of an exec. Throws `TypeError` on what is not one. */
export function programRequest(
  command: string | readonly string[],
  options: SpawnOptions | DetachOptions,
): { request: ProgramRequest; window: number } {
  const argv = typeof command === "string" ? ["/bin/sh", "-c", command] : [...command];
  checkTexts(argv, options);
  const { env, clearEnv, cwd, user, group, timeoutMs, limits, pty } = options;
  const numbers = { ...(typeof user === "string" ? {} : { user }), group, timeoutMs };
  for (const [what, value] of Object.entries(numbers)) checkWhole(what, value, 0, 0xffffffff);
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
    throw new TypeError(`window should be from 4096 to ${MAX_WINDOW} bytes, not ${window}`);
  }
  return window;
}

function checkTexts(argv: readonly unknown[], { env, cwd, user }: SpawnOptions): void {
  if (argv.length === 0) throw new TypeError("exec needs a command: a string or a list that is not empty");
  const texts: [string, unknown][] = argv.map((argument, index) => [`argument ${index}`, argument]);
  for (const [name, value] of Object.entries(env ?? {})) {
    if (name === "" || name.includes("="))
      throw new TypeError(`"${name}" is no name of an environment variable`);
    texts.push([`environment variable ${name}`, value]);
  }
  if (cwd !== undefined) texts.push(["cwd", cwd]);
  if (typeof user === "string") texts.push(["user", user]);
  for (const [what, value] of texts) {
    if (typeof value !== "string") throw new TypeError(`${what} should be a string, not ${typeof value}`);
    if (value.includes("\0")) throw new TypeError(`${what} has a NUL character in it`);
  }
}

function limitsOf(limits: Limits): Message {
  const { memoryMb, cpus, pids, ...others } = limits;
  // a limit that is misspelt would be no limit
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new TypeError(`"${unknown}" is no limit; there are memoryMb, cpus and pids`);
  checkWhole("limits.memoryMb", memoryMb, 1, 2 ** 28);
  checkWhole("limits.pids", pids, 1, 2 ** 22);
  if (cpus !== undefined && !(typeof cpus === "number" && cpus > 0 && cpus <= 4096)) {
    throw new TypeError(`limits.cpus should be a number above 0, not ${JSON.stringify(cpus)}`);
  }
  return {
    memory: memoryMb === undefined ? undefined : memoryMb * MIB,
    cpuMilli: cpus === undefined ? undefined : Math.max(LEAST_CPU, Math.round(cpus * 1000)),
    pids,
  };
}
