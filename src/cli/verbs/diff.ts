/** `capsa diff`: what a sandbox has changed in its transactional shares. */
import { type Command, Option } from "commander";
import type { Colors } from "picocolors/types";
import type { Change } from "../../changes/api.ts";
import { summary } from "../../changes/diff.ts";
import { printable, printableLine } from "../../errors/printable.ts";
import { isTerminal } from "../../host/libc.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";
import { chooseChanges } from "../pending.ts";
import { refusing } from "./apply.ts";

interface Options {
  readonly summary?: true;
  readonly json?: true;
  readonly format: "unified" | "git";
}

export function diff(program: Command, cli: Cli): void {
  program
    .command("diff")
    .summary('show what a sandbox has changed in shares with mode = "transaction"')
    .description(
      "Show what a sandbox has changed in its transactional shares, except what was already applied or discarded. " +
        "The sandbox may run or have ended. Each change is one line; text files also show a unified diff. CONFLICT " +
        "says why an apply would refuse the change.",
    )
    .argument("[sandbox]", "name or id (default: the only one with changes)")
    .argument("[path...]", "files or directories in the guest (default: all)")
    .option("-s, --summary", "only the lines, without the text")
    .option("--json", "print a JSON list")
    .addOption(
      new Option("--format <format>", 'form of the diff; "git" is a patch of one share for `git apply`')
        .choices(["unified", "git"])
        .default("unified"),
    )
    .addHelpText(
      "after",
      "\nExamples:\n  $ capsa diff\n  $ capsa diff box /project/src\n  $ capsa diff box --summary\n" +
        "  $ capsa diff box --format git >box.patch",
    )
    .action((sandbox: string | undefined, paths: string[], options: Options) =>
      run(sandbox === undefined ? [] : [sandbox, ...paths], options, cli),
    );
}

async function run(words: readonly string[], options: Options, { terminal }: Cli): Promise<void> {
  const { format, json } = options;
  if (format === "git" && (options.summary || json))
    throw new UsageError("--format git cannot be combined with --summary or --json", "give one of them");
  const { changes, paths } = await chooseChanges(words);
  const reader = isTerminal(1) ? "person" : "program";
  if (format === "git") {
    const patch = (await refusing(changes?.diff(paths, { format }))) ?? "";
    return terminal.write(reader === "person" ? printable(patch) : patch);
  }
  const parts = (await refusing(changes?.inspect(paths))) ?? [];
  if (json) {
    const documents = parts.map(({ change, text, reason }) => ({ ...change, diff: text, reason }));
    return terminal.json(options.summary ? parts.map(({ change }) => change) : documents);
  }
  const colors = await terminal.colors();
  for (const part of parts) {
    const { change } = part;
    await terminal.write(describePart(options.summary ? { change } : part, colors, reader));
  }
}

interface Part {
  readonly change: Change;
  readonly text?: string;
  readonly reason?: string;
}

/** A program gets the difference to the byte, for a patch; a terminal would obey or hide what a guest has written. */
export function describePart(
  { change, text, reason }: Part,
  colors: Colors,
  reader: "person" | "program",
): string {
  const note = text === undefined && reason !== undefined ? `: ${reason}` : "";
  const line = `${colors.bold(printableLine(summary(change) + note))}\n`;
  if (text === undefined) return line;
  return line + coloured(reader === "person" ? printable(text) : text, colors);
}

function coloured(text: string, { green, red, cyan }: Colors): string {
  const paint = (line: string) => {
    if (line.startsWith("@@")) return cyan(line);
    if (line.startsWith("+")) return green(line);
    return line.startsWith("-") ? red(line) : line;
  };
  return text.split("\n").map(paint).join("\n");
}
