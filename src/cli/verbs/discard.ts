/** `capsa discard`: drop what a sandbox has changed in its transactional shares. */
import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { chooseChanges, listed } from "../pending.ts";
import { refusing } from "./apply.ts";

interface Options {
  readonly json?: true;
}

export function discard(program: Command, cli: Cli): void {
  program
    .command("discard")
    .summary("drop a sandbox's changes; the shared directories stay as they are")
    .description(
      "Drop what a sandbox has changed in its transactional shares: all changes, or those at or below the paths. " +
        "The sandbox may run or have ended. A running guest still sees its own files. They become changes again when " +
        "it changes them again.",
    )
    .argument("[sandbox]", "name or id (default: the only one with changes)")
    .argument("[path...]", "files or directories in the guest, as `capsa diff` shows them (default: all)")
    .option("--json", "print what was dropped as a JSON list")
    .addHelpText("after", "\nExamples:\n  $ capsa discard box\n  $ capsa discard box /project/node_modules")
    .action((sandbox: string | undefined, paths: string[], options: Options) =>
      run(sandbox === undefined ? [] : [sandbox, ...paths], options, cli),
    );
}

async function run(words: readonly string[], { json }: Options, { terminal }: Cli): Promise<void> {
  const { changes, paths } = await chooseChanges(words);
  const dropped = (await refusing(changes?.discard(paths))) ?? [];
  if (json) return terminal.json(dropped);
  await terminal.write(listed(dropped));
  if (dropped.length === 0) await terminal.say("there is nothing to discard");
}
