/** The `capsa` command: its verbs, and what happens when one fails. */

import { readFileSync } from "node:fs";
import { Command } from "commander";
import pkg from "../../package.json" with { type: "json" };
import type { Cli } from "./cli.ts";
import { describeFailure, exitCodes, UsageError, watchInterrupts } from "./failure.ts";
import { Terminal } from "./terminal.ts";

type Verb = (program: Command, cli: Cli) => void;

/** In the order of the help. One that is named is loaded alone: loading all of them takes longer than most of them. */
const verbs: ReadonlyMap<string, () => Promise<Verb>> = new Map([
  ["up", async () => (await import("./verbs/up.ts")).up],
  ["exec", async () => (await import("./verbs/exec.ts")).exec],
  ["shell", async () => (await import("./verbs/shell.ts")).shell],
  ["cp", async () => (await import("./verbs/cp.ts")).cp],
  ["diff", async () => (await import("./verbs/diff.ts")).diff],
  ["apply", async () => (await import("./verbs/apply.ts")).apply],
  ["discard", async () => (await import("./verbs/discard.ts")).discard],
  ["ps", async () => (await import("./verbs/ps.ts")).ps],
  ["df", async () => (await import("./verbs/df.ts")).df],
  ["metrics", async () => (await import("./verbs/metrics.ts")).metrics],
  ["logs", async () => (await import("./verbs/logs.ts")).logs],
  ["network", async () => (await import("./verbs/network.ts")).network],
  ["learn", async () => (await import("./verbs/learn.ts")).learn],
  ["forward", async () => (await import("./verbs/forward.ts")).forward],
  ["expose", async () => (await import("./verbs/expose.ts")).expose],
  ["mcp", async () => (await import("./verbs/mcp.ts")).mcp],
  ["down", async () => (await import("./verbs/down.ts")).down],
  ["init", async () => (await import("./verbs/init.ts")).init],
  ["check", async () => (await import("./verbs/check.ts")).check],
  ["schema", async () => (await import("./verbs/schema.ts")).schema],
  ["doctor", async () => (await import("./verbs/doctor.ts")).doctor],
  ["kernel", async () => (await import("./verbs/kernel.ts")).kernel],
]);

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
\`exec\`, \`shell\` and an \`up\` without steps pass on the guest's.`,
    );
  const named = verbs.get(first ?? "");
  for (const load of named ? [named] : verbs.values()) (await load())(program, cli);
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
      `the argument ${JSON.stringify(word)} is not UTF-8, and capsa would pass on another`,
      "put what is of other bytes into a file, or into stdin",
    );
  }
}
