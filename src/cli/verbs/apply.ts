/** `capsa apply`: take over what a sandbox has changed in its transactional shares. */
import type { Command } from "commander";
import { CapsaError } from "../../errors/errors.ts";
import { printableLine } from "../../errors/printable.ts";
import type { Cli } from "../cli.ts";
import { exitCodes, RefusedError } from "../failure.ts";
import { chooseChanges, listed } from "../pending.ts";

interface Options {
  readonly force?: true;
  readonly json?: true;
}

export function apply(program: Command, cli: Cli): void {
  program
    .command("apply")
    .summary("write a sandbox's changes into the shared directories")
    .description(
      "Write what a sandbox has changed in its transactional shares into the directories of this machine. The " +
        "sandbox may run or have ended. Without paths all changes are applied, else those at or below the paths. " +
        "Where this machine has changed the same thing, the change is refused and listed, and the exit code is 1. An " +
        "applied file that this machine may run or obey is listed on stderr, unless a path names exactly that file. " +
        "If an apply is interrupted, the next one completes it.",
    )
    .argument("[sandbox]", "name or id (default: the only one with changes)")
    .argument("[path...]", "files or directories in the guest, as `capsa diff` shows them (default: all)")
    .option("--force", "apply the guest's change even if this machine has changed the same thing")
    .option("--json", "print what was applied and refused as JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  $ capsa diff box && capsa apply box\n  $ capsa apply box /project/src --force",
    )
    .action((sandbox: string | undefined, paths: string[], options: Options) =>
      run(sandbox === undefined ? [] : [sandbox, ...paths], options, cli),
    );
}

async function run(words: readonly string[], { force, json }: Options, cli: Cli): Promise<void> {
  const { terminal } = cli;
  const { changes, paths } = await chooseChanges(words);
  const result = (await refusing(changes?.apply(paths, { force: force ?? false }))) ?? {
    applied: [],
    refused: [],
  };
  if (result.refused.length > 0) cli.exitCode = exitCodes.failed;
  if (json) return terminal.json(result);
  await terminal.write(listed(result.applied));
  for (const { path, mayRun } of result.applied) {
    if (mayRun !== undefined && !paths?.includes(path))
      await terminal.say(`capsa: ${printableLine(`this machine may run ${path}: ${mayRun}`)}`);
  }
  for (const { path, conflict } of result.refused) {
    await terminal.say(`capsa: ${printableLine(`${path} is not applied: ${conflict}`)}`);
  }
  if (result.refused.length > 0 && !force)
    await terminal.say("  `capsa apply --force` takes the guest's side, `capsa discard` this machine's");
  if (result.applied.length + result.refused.length === 0) await terminal.say("there is nothing to apply");
}

/** A path at which nothing has changed is an answer, not a failure of capsa's. */
export async function refusing<T>(work: Promise<T> | undefined): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof CapsaError && error.code === "NO_SUCH_CHANGE") throw new RefusedError(error);
    throw error;
  }
}
