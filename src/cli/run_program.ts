/** Runs a program in a sandbox as if it ran here: what `exec` and `shell` have in common. */

import { fstatSync, statSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import type { Agent, AgentProcess, ExitStatus, SpawnOptions } from "../agent/api.ts";
import { AgentError } from "../errors/errors.ts";
import { isTerminal } from "../host/libc.ts";
import { shellStatus } from "../host/signals.ts";
import { connectByName } from "../sandbox/connect.ts";
import type { Cli } from "./cli.ts";
import { exitCodes, Interrupted } from "./failure.ts";
import { collectEnvironment, parseCount, parseMegabytes } from "./options.ts";
import { copy } from "./output.ts";
import { RawTerminal, requireTerminal, terminalSize } from "./raw_terminal.ts";

/** What the program is to be. */
export interface ProgramOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  readonly user?: string;
  readonly timeout?: number;
  readonly memory?: number;
  readonly cpus?: number;
  readonly pids?: number;
  /** Our stdin is the program's even where it is a terminal. */
  readonly interactive?: true;
  /** The program has a terminal, and it is ours. */
  readonly tty?: true;
}

export function addProgramOptions(command: Command): Command {
  return command
    .option(
      "-e, --env <KEY=VALUE>",
      "set a variable; KEY alone takes the value of this environment",
      collectEnvironment,
    )
    .option("-w, --cwd <dir>", "working directory in the sandbox")
    .option("-u, --user <user>", "run as this user: NAME, NAME:GROUP or numbers")
    .option("--memory <size>", "kill it if it uses more memory, such as 64M or 1G", parseMegabytes)
    .option("--cpus <number>", "most processor time it gets, such as 0.5", parseCpus)
    .option("--pids <number>", "most processes and threads", parseCount);
}

/** The options of `agent.spawn` but stdin: how a terminal's keys get there is the caller's to know. */
export function spawnOptions(options: ProgramOptions): Omit<SpawnOptions, "stdin" | "window"> {
  const { TERM } = process.env;
  const { tty, cwd, user, timeout, memory, cpus, pids } = options;
  const limits = {
    ...(memory === undefined ? {} : { memoryMb: memory }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(pids === undefined ? {} : { pids }),
  };
  return {
    env: { ...(tty && TERM ? { TERM } : {}), ...options.env },
    ...(tty ? { pty: terminalSize() } : {}),
    ...(cwd === undefined ? {} : { cwd }),
    ...(user === undefined ? {} : { user }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
    ...(Object.keys(limits).length > 0 ? { limits } : {}),
  };
}

/** Connects to the agent of a sandbox that runs, for as long as `work` takes. */
export async function withAgent(
  name: string,
  cli: Cli,
  work: (agent: Agent) => Promise<void>,
): Promise<void> {
  await using agent = await connectByName(name, { signal: cli.signal });
  await work(agent);
}

/** Runs the first of `commands` that is there, with our streams or our terminal, and takes over its exit code. */
export async function runProgram(
  name: string,
  commands: readonly (readonly string[])[],
  options: ProgramOptions,
  cli: Cli,
): Promise<void> {
  if (options.tty) requireTerminal();
  await withAgent(name, cli, async (agent) => {
    await orExplain(agent, commands.at(-1)!, options, cli, () =>
      options.tty ? inTerminal(agent, commands, options, cli) : inPipes(agent, commands, options, cli),
    );
  });
}

async function inPipes(
  agent: Agent,
  commands: readonly (readonly string[])[],
  options: ProgramOptions,
  cli: Cli,
): Promise<void> {
  const piped = options.interactive || !(isTerminal(0) || isNull(0));
  await using child = await spawnFirst(agent, commands, {
    ...spawnOptions(options),
    ...(piped ? { stdin: Bun.stdin.stream() } : {}),
  });
  // the command gets the signal, and decides; one that pays no heed dies at the second Ctrl-C, with this process
  cli.signal.addEventListener("abort", () => {
    if (cli.signal.reason instanceof Interrupted) child.kill(cli.signal.reason.signal);
  });
  await tellEnd(await showOutput(child, cli), cli);
}

/** Whether that is /dev/null, from which nothing needs to be fed. */
function isNull(fd: number): boolean {
  const given = fstatSync(fd);
  return given.isCharacterDevice() && given.rdev === statSync("/dev/null").rdev;
}

async function inTerminal(
  agent: Agent,
  commands: readonly (readonly string[])[],
  options: ProgramOptions,
  cli: Cli,
): Promise<void> {
  using raw = new RawTerminal();
  const child = await spawnFirst(agent, commands, { ...spawnOptions(options), stdin: Bun.stdin.stream() });
  // where this ends before it, the connection ends and hangs up on it: its own end is not waited for
  await tellEnd(await showTerminal(child, raw, cli), cli);
}

async function spawnFirst(
  agent: Agent,
  commands: readonly (readonly string[])[],
  options: SpawnOptions,
): Promise<AgentProcess> {
  for (const command of commands.slice(0, -1)) {
    try {
      return await agent.spawn(command, options);
    } catch (error) {
      if (!(error instanceof AgentError && error.code === "ENOENT")) throw error;
    }
  }
  return agent.spawn(commands.at(-1)!, options);
}

/** Does `work`; a program that could not be started is told as a shell tells it. */
export async function orExplain(
  agent: Agent,
  command: readonly string[],
  options: ProgramOptions,
  cli: Cli,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    const code = notStarted(error);
    if (code === undefined) throw error;
    const lost = options.cwd !== undefined && !(await agent.exists(options.cwd));
    cli.exitCode = lost ? exitCodes.notExecutable : code;
    await cli.terminal.say(`capsa: ${(error as AgentError).message}${shellHint(command)}`);
  }
}

function notStarted(error: unknown): number | undefined {
  if (!(error instanceof AgentError)) return undefined;
  if (error.code === "ENOENT") return exitCodes.notFound;
  return ["EACCES", "ENOEXEC", "ENOTDIR"].includes(error.code) ? exitCodes.notExecutable : undefined;
}

function shellHint(command: readonly string[]): string {
  return command.length === 1 && /\s/.test(command[0]!)
    ? `\n  for the shell's syntax: -- sh -c '${command[0]}'`
    : "";
}

function parseCpus(text: string): number {
  const cpus = /^[0-9]+(\.[0-9]+)?$/.test(text) ? Number(text) : 0;
  if (!(cpus > 0 && cpus <= 4096)) throw new InvalidArgumentError("Give a number above 0: 0.5, 2.");
  return cpus;
}

/** Shows what it prints, to its end. Rejects as soon as that cannot be shown any more. */
export async function showOutput(child: AgentProcess, { terminal }: Cli): Promise<ExitStatus> {
  const copies = [
    copy(child.stdout, (chunk) => terminal.write(chunk)),
    copy(child.stderr, (chunk) => terminal.writeError(chunk)),
  ];
  const [ended] = await Promise.all([child.exited, ...copies]);
  return ended;
}

/**
 * The same with this terminal, whose size it follows. A signal ends it at once: keys that mean one go to the program, so
 * it is this command that is meant.
 */
export async function showTerminal(child: AgentProcess, raw: RawTerminal, cli: Cli): Promise<ExitStatus> {
  const { promise: interrupted, reject } = Promise.withResolvers<never>();
  cli.signal.addEventListener("abort", () => reject(cli.signal.reason));
  if (cli.signal.aborted) throw cli.signal.reason;
  raw.onResize(({ columns, rows }) => child.resize(columns, rows));
  try {
    return await Promise.race([showOutput(child, cli), interrupted]);
  } catch (error) {
    raw.restore();
    await cli.terminal.say(""); // what is said next, by whomever, is not part of the program's last line
    throw error;
  }
}

/** This command's exit code, and a word on the ends that it does not explain. */
export async function tellEnd(ended: ExitStatus, cli: Cli): Promise<void> {
  cli.exitCode = ended.timedOut ? exitCodes.timedOut : shellStatus(ended);
  if (ended.oomKilled) await cli.terminal.say("capsa: killed: it wanted more memory than --memory gives it");
}
