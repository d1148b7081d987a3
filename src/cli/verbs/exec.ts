/** `capsa exec`: run a command in a sandbox that runs, as if it ran here, or leave it running there. */

import { type Command, InvalidArgumentError } from "commander";
import type { AttachedProcess } from "../../agent/api.ts";
import { AgentError, CapsaError } from "../../errors/errors.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";
import { parseTimeout } from "../options.ts";
import { RawTerminal, requireTerminal, terminalSize } from "../raw_terminal.ts";
import {
  addProgramOptions,
  orExplain,
  type ProgramOptions,
  runProgram,
  showOutput,
  showTerminal,
  spawnOptions,
  tellEnd,
  withAgent,
} from "../run_program.ts";

interface Options extends ProgramOptions {
  readonly detach?: true;
  readonly attach?: number;
}

export function exec(program: Command, cli: Cli): void {
  const command = program
    .command("exec")
    .summary("run a command in a running sandbox")
    .description(
      "Run a command in a running sandbox. Its output appears here, and piped input reaches it. Its exit code " +
        "becomes the exit code of this command: 128 + N if signal N ended it, 124 after --timeout, 126 if the " +
        "program cannot be executed, 127 if it does not exist, 125 if capsa failed.",
    )
    .argument("<name>", "name or id, as `capsa ps` lists it")
    .argument("[command...]", "program and arguments, after --")
    .option("-i, --interactive", "pass stdin on even if it is a terminal")
    .option("-t, --tty", "give the command this terminal: it gets every key, Ctrl-C too")
    .option("-d, --detach", "leave it running and print its number; capsa keeps its last 64 KiB of output")
    .option("--attach <number>", "show the output of a detached command until it ends", parseNumber);
  addProgramOptions(command)
    .option("--timeout <time>", "kill the command after this time", parseTimeout)
    .showHelpAfterError("  write the command's own options after --: capsa exec NAME -- COMMAND -x …")
    .addHelpText(
      "after",
      "\nWith --attach, Ctrl-C leaves the command in the sandbox running. With -t, use Ctrl-] for that.\n" +
        "\nExamples:\n  $ capsa exec box -- uname -a\n  $ capsa exec box -- sh -c 'ls /project | wc -l'\n" +
        "  $ tar c src | capsa exec box -w /tmp -- tar x\n  $ capsa exec -it box -- vi /etc/hosts\n" +
        "  $ capsa exec -d box -- server    (prints 1)\n  $ capsa exec box --attach 1\n  $ capsa ps box",
    )
    .action((name: string, argv: string[], options: Options) => run(name, argv, options, cli));
}

async function run(name: string, command: string[], options: Options, cli: Cli): Promise<void> {
  if (options.attach !== undefined) {
    const { attach, interactive, tty, ...others } = options;
    if (command.length > 0 || Object.keys(others).length > 0)
      throw new UsageError("--attach takes only -i and -t: the process has its command already");
    return attachTo(name, attach, { interactive, tty }, cli);
  }
  if (command.length === 0) {
    throw new UsageError("give a command", `capsa exec ${name} -- COMMAND …, or \`capsa shell ${name}\``);
  }
  if (options.detach) return leaveRunning(name, command, options, cli);
  return runProgram(name, [command], options, cli);
}

/** With -i its stdin, with -t its terminal, is for those who attach. */
async function leaveRunning(name: string, command: string[], options: Options, cli: Cli): Promise<void> {
  await withAgent(name, cli, (agent) =>
    orExplain(agent, command, options, cli, async () => {
      const { id } = await agent.spawn(command, {
        ...spawnOptions(options),
        ...(options.interactive ? { stdin: "pipe" } : {}),
        detach: true,
      });
      await cli.terminal.print(String(id));
    }),
  );
}

function parseNumber(text: string): number {
  if (!/^[1-9][0-9]{0,14}$/.test(text)) {
    throw new InvalidArgumentError("Give a number, as `capsa exec -d` prints and `capsa ps NAME` lists it.");
  }
  return Number(text);
}

/** Ctrl-], as telnet and virsh have it: a key that programs have no use for. */
const LEAVE = 0x1d;

interface AttachMode {
  readonly interactive: true | undefined;
  readonly tty: true | undefined;
}

async function attachTo(name: string, id: number, mode: AttachMode, cli: Cli): Promise<void> {
  if (mode.tty) requireTerminal();
  await withAgent(name, cli, async (agent) => {
    try {
      await using child = await agent.attachProcess(id, { signal: cli.signal });
      await (mode.tty ? inTerminal(child, cli) : inPipes(child, mode, cli));
    } catch (error) {
      if (!(error instanceof AgentError && error.code === "ESRCH")) throw error;
      throw new CapsaError("PROCESS_NOT_FOUND", `no process ${id} is known in ${name}`, {
        hint: `\`capsa ps ${name}\` lists them`,
      });
    }
  });
}

async function inPipes(child: AttachedProcess, { interactive }: AttachMode, cli: Cli): Promise<void> {
  if (interactive) void pass(Bun.stdin.stream(), child);
  await tellEnd(await showOutput(child, cli), cli);
}

async function inTerminal(child: AttachedProcess, cli: Cli): Promise<void> {
  if (!child.terminal) throw new UsageError(`process ${child.id} has no terminal`, "attach to it without -t");
  await cli.terminal.say("Ctrl-] leaves it running");
  using raw = new RawTerminal();
  const { columns, rows } = terminalSize();
  child.resize(columns, rows);
  const left = passKeys(Bun.stdin.stream(), child);
  const ended = await Promise.race([showTerminal(child, raw, cli), left]);
  if (ended) await tellEnd(ended, cli);
}

/** To its end, which is the process's end of input. */
async function pass(from: ReadableStream<Uint8Array>, child: AttachedProcess): Promise<void> {
  const writer = child.stdin?.getWriter();
  for await (const chunk of from) await writer?.write(chunk);
  await writer?.close();
}

/** Until the key that means this command and not the process. */
async function passKeys(from: ReadableStream<Uint8Array>, child: AttachedProcess): Promise<void> {
  const writer = child.stdin?.getWriter();
  for await (const chunk of from) {
    const at = chunk.indexOf(LEAVE);
    const keys = at === -1 ? chunk : chunk.subarray(0, at);
    if (keys.length > 0) await writer?.write(keys);
    if (at !== -1) return;
  }
}
