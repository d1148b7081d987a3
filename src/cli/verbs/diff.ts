/** `capsa diff`: what a sandbox has changed in its transactional shares. */
import type { Command } from "commander";
import type { Colors } from "picocolors/types";
import { summary } from "../../changes/diff.ts";
import { isTerminal } from "../../engine/libc.ts";
import { printable } from "../../steps/report/terminal.ts";
import type { Cli } from "../cli.ts";
import { chooseChanges } from "../pending.ts";
import { refusing } from "./apply.ts";

interface Options {
  readonly summary?: true;
  readonly json?: true;
}

export function diff(program: Command, cli: Cli): void {
  program
    .command("diff")
    .summary('show what a sandbox has changed in shares with mode = "transaction"')
    .description(
      "Show what a sandbox, which runs or has ended, has changed in its transactional shares, and nobody has applied or " +
        "discarded: a line a change and, for text, what differs, in unified form. CONFLICT says why an apply would refuse it.",
    )
    .argument("[sandbox]", "name or id; may be left out where only one has changes")
    .argument("[path...]", "of files or directories in the guest (default: all)")
    .option("-s, --summary", "the lines only")
    .option("--json", "as a JSON list")
    .addHelpText(
      "after",
      "\nExamples:\n  $ capsa diff\n  $ capsa diff box /project/src\n  $ capsa diff box --summary",
    )
    .action((sandbox: string | undefined, paths: string[], options: Options) =>
      run(sandbox === undefined ? [] : [sandbox, ...paths], options, cli),
    );
}

async function run(words: readonly string[], options: Options, { terminal }: Cli): Promise<void> {
  const { changes, paths } = await chooseChanges(words);
  const parts = (await refusing(changes?.inspect(paths))) ?? [];
  if (options.json) {
    const documents = parts.map(({ change, text, reason }) => ({ ...change, diff: text, reason }));
    return terminal.json(options.summary ? parts.map(({ change }) => change) : documents);
  }
  const colors = await terminal.colors();
  // What is piped is for programs, to the byte; a terminal would obey what a guest has written
  const shown = isTerminal(1) ? printable : (text: string) => text;
  for (const { change, text, reason } of parts) {
    const note = !options.summary && text === undefined && reason !== undefined ? `: ${reason}` : "";
    await terminal.print(colors.bold(printable(summary(change)) + note));
    if (text !== undefined && !options.summary) await terminal.write(coloured(shown(text), colors));
  }
}

function coloured(text: string, { green, red, cyan }: Colors): string {
  const paint = (line: string) => {
    if (line.startsWith("@@")) return cyan(line);
    if (line.startsWith("+")) return green(line);
    return line.startsWith("-") ? red(line) : line;
  };
  return text.split("\n").map(paint).join("\n");
}
