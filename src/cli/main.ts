/** The `capsa` command: its verbs, and what happens when one fails. */

import { readFileSync } from "node:fs";
import { Command } from "commander";
import pkg from "../../package.json" with { type: "json" };
import type { Cli } from "./cli.ts";
import { describeFailure, exitCodes, UsageError, watchInterrupts } from "./failure.ts";
import { Terminal } from "./terminal.ts";

type Verb = (program: Command, cli: Cli) => void;

/**
 * Each is what its file exports by that name, in the order of the help. One that is named is loaded alone: loading all of
 * them takes longer than most of them.
 */
const verbs: Readonly<Record<string, () => Promise<Readonly<Record<string, unknown>>>>> = {
  up: () => import("./verbs/up.ts"),
  exec: () => import("./verbs/exec.ts"),
  shell: () => import("./verbs/shell.ts"),
  cp: () => import("./verbs/cp.ts"),
  diff: () => import("./verbs/diff.ts"),
  apply: () => import("./verbs/apply.ts"),
  discard: () => import("./verbs/discard.ts"),
  ps: () => import("./verbs/ps.ts"),
  df: () => import("./verbs/df.ts"),
  metrics: () => import("./verbs/metrics.ts"),
  logs: () => import("./verbs/logs.ts"),
  network: () => import("./verbs/network.ts"),
  learn: () => import("./verbs/learn.ts"),
  forward: () => import("./verbs/forward.ts"),
  expose: () => import("./verbs/expose.ts"),
  mcp: () => import("./verbs/mcp.ts"),
  down: () => import("./verbs/down.ts"),
  init: () => import("./verbs/init.ts"),
  check: () => import("./verbs/check.ts"),
  schema: () => import("./verbs/schema.ts"),
  doctor: () => import("./verbs/doctor.ts"),
  kernel: () => import("./verbs/kernel.ts"),
};

const interrupts = watchInterrupts();
const { signal, end } = interrupts;
const cli: Cli = { terminal: new Terminal(interrupts), signal, exitCode: 0 };

// What nobody waits for may fail as well: that ends the command too, and what it started ends with it
for (const event of ["unhandledRejection", "uncaughtException"] as const) {
  process.on(event, async (error) => {
    if (signal.aborted) return; // by whose reason it is about to end
    end(error as Error);
    await fail(error);
    process.exit(cli.exitCode);
  });
}

const failure = await build(process.argv[2])
  .then((program) => {
    checkArguments(process.argv);
    return program.parseAsync();
  })
  .then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
const lost = await cli.terminal.drain();
if (failure ?? lost) await fail(signal.aborted ? signal.reason : failure?.error);
process.exit(cli.exitCode);

/** Tells of it, unless nobody listens: then that is the failure. */
async function fail(error: unknown): Promise<void> {
  const { exitCode, document, text } = describeFailure(error);
  const before = await cli.terminal.drain();
  const say = async () => text && cli.terminal.say(text);
  cli.exitCode = exitCode;
  await (exitCode !== 0 && wantsJson() ? cli.terminal.json(document).catch(say) : say()).catch(() => {});
  const lost = await cli.terminal.drain();
  if (lost !== before) await fail(lost);
}

/** `first`: the first word of the command line, which names a verb or asks for something about all of them. */
async function build(first: string | undefined): Promise<Command> {
  const program = new Command("capsa")
    .description("Throw-away Linux machines for programs.")
    .version(pkg.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .showSuggestionAfterError()
    .showHelpAfterError("  capsa --help lists what there is")
    .configureOutput({
      writeOut: (text) => void cli.terminal.write(text),
      writeErr: (text) => void (wantsJson() || cli.terminal.say(text.replace(/\n$/, ""))),
    })
    .exitOverride()
    .addHelpText(
      "after",
      `
Examples:
  $ capsa init && capsa up                       a first sandbox
  $ capsa up -d && capsa exec hello -- ls -l /   (\`capsa ps\` lists names)
  $ capsa doctor                                 what this machine can do

Exit codes: ${exitCodes.failed} a step failed, ${exitCodes.usage} the command line or the file is wrong, ${exitCodes.capsa} capsa failed, 130 Ctrl-C;
\`exec\`, \`shell\` and \`up\` without steps return the program's exit code.`,
    );
  const named = first !== undefined && Object.hasOwn(verbs, first) ? [first] : Object.keys(verbs);
  for (const name of named) ((await verbs[name]!())[name] as Verb)(program, cli);
  return program;
}

function wantsJson(): boolean {
  const end = process.argv.indexOf("--");
  return process.argv.slice(2, end === -1 ? undefined : end).includes("--json");
}

/** Throws {@link UsageError} where one of `words`, this process's own, was not UTF-8. */
export function checkArguments(words: readonly string[]): void {
  const word = words.find((one) => one.includes("\ufffd"));
  if (word === undefined) return;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(readFileSync("/proc/self/cmdline"));
  } catch {
    throw new UsageError(
      `the argument ${JSON.stringify(word)} is not UTF-8, and capsa would change it`,
      "put such bytes into a file, or send them to stdin",
    );
  }
}
