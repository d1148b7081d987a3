/** `capsa shell`: a shell in a sandbox, in this terminal. */
import type { Command } from "commander";
import { list } from "../../sandbox/registry.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";
import { addProgramOptions, type ProgramOptions, runProgram } from "../run_program.ts";

const SHELLS = [["bash"], ["sh"]] as const;

export function shell(program: Command, cli: Cli): void {
  const command = program
    .command("shell")
    .summary("open a shell in a running sandbox")
    .description(
      "Open bash in a running sandbox, or sh if there is no bash. Every key goes to the shell, Ctrl-C too. `exit` " +
        "or Ctrl-D ends it, and its exit code becomes the exit code of this command.",
    )
    .argument("[name]", "name or id, as `capsa ps` lists it (default: the only running one)");
  addProgramOptions(command)
    .addHelpText("after", "\nExamples:\n  $ capsa shell\n  $ capsa shell box -u nobody -w /tmp")
    .action(async (name: string | undefined, options: ProgramOptions) =>
      runProgram(name ?? (await onlySandbox()), SHELLS, { ...options, tty: true }, cli),
    );
}

async function onlySandbox(): Promise<string> {
  const names = (await list()).map(({ name }) => name);
  if (names.length === 1) return names[0]!;
  throw names.length === 0
    ? new UsageError("no sandbox is running", "start one with `capsa up -d`")
    : new UsageError("several sandboxes are running", `name one of ${names.join(", ")}`);
}
