/** `capsa exec`: run a command in a sandbox that runs, as if it ran here. */
import type { Command } from "commander";
import type { AgentProcess } from "../../agent/api.ts";
import { AgentError } from "../../errors.ts";
import { agentPort, waitReady } from "../../sandbox/ready.ts";
import { attach } from "../../sandbox/registry.ts";
import { exitCodeOf } from "../../steps/exec.ts";
import type { Cli } from "../cli.ts";
import { exitCodes } from "../failure.ts";
import type { Interrupted } from "../interrupt.ts";
import { collectEnvironment, parseTimeout } from "../options.ts";
import { copy } from "../output.ts";

interface Options {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  readonly timeout?: number;
}

export function exec(program: Command, cli: Cli): void {
  program
    .command("exec")
    .summary("run a command in a running sandbox")
    .description(
      "Run a command in a running sandbox. Its output streams here, what is piped in reaches it, and its exit code is " +
        "this command's: 128 + N when signal N ended it, 124 when --timeout did, 126 when it cannot be executed, 127 when " +
        "there is no such program, 125 when capsa failed.",
    )
    .argument("<name>", "name or id, as `capsa ps` lists it")
    .argument("<command...>", "program and arguments, behind --")
    .option("-e, --env <KEY=VALUE>", "set a variable; a bare KEY takes its value here", collectEnvironment)
    .option("-w, --cwd <dir>", "working directory in the sandbox")
    .option("--timeout <time>", "kill it after so long", parseTimeout)
    .showHelpAfterError("  what belongs to the command goes behind --: capsa exec NAME -- COMMAND -x …")
    .addHelpText(
      "after",
      "\nExamples:\n  $ capsa exec box -- uname -a\n  $ capsa exec box -- sh -c 'ls /project | wc -l'\n" +
        "  $ tar c src | capsa exec box -w /tmp -- tar x",
    )
    .action((name: string, command: string[], options: Options) => run(name, command, options, cli));
}

async function run(name: string, command: string[], options: Options, cli: Cli): Promise<void> {
  await using vm = await attach(name);
  await using agent = await waitReady(vm.vsockSocket(agentPort()), { signal: cli.signal });
  let child: AgentProcess;
  try {
    child = await agent.spawn(command, {
      ...(options.env ? { env: options.env } : {}),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout }),
      ...(process.stdin.isTTY ? {} : { stdin: Bun.stdin.stream() }),
    });
  } catch (error) {
    const code = notStarted(error);
    if (code === undefined) throw error;
    const lost = options.cwd !== undefined && !(await agent.exists(options.cwd));
    cli.exitCode = lost ? exitCodes.notExecutable : code;
    return cli.terminal.say(`capsa: ${(error as AgentError).message}${shellHint(command)}`);
  }
  await using running = child;
  // the command gets the signal, and decides; one that pays no heed dies at the second Ctrl-C, with this process
  cli.signal.addEventListener("abort", () => running.kill((cli.signal.reason as Interrupted).signal));
  const copies = [
    copy(running.stdout, (chunk) => cli.terminal.write(chunk)),
    copy(running.stderr, (chunk) => cli.terminal.writeError(chunk)),
  ];
  const ended = await running.exited;
  await Promise.all(copies);
  cli.exitCode = ended.timedOut ? exitCodes.timedOut : exitCodeOf(ended);
}

function notStarted(error: unknown): number | undefined {
  if (!(error instanceof AgentError)) return undefined;
  if (error.code === "ENOENT") return exitCodes.notFound;
  return ["EACCES", "ENOEXEC", "ENOTDIR"].includes(error.code) ? exitCodes.notExecutable : undefined;
}

function shellHint(command: string[]): string {
  return command.length === 1 && /\s/.test(command[0]!)
    ? `\n  for the shell's syntax: -- sh -c '${command[0]}'`
    : "";
}
