/** The `capsa` command: its verbs, and what happens when one fails. */
import { Command } from "commander";
import pkg from "../../package.json" with { type: "json" };
import { printable } from "../printable.ts";
import type { Cli } from "./cli.ts";
import { describeFailure, exitCodes } from "./failure.ts";
import { watchInterrupts } from "./interrupt.ts";
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

const { signal, outputLost } = watchInterrupts();
const cli: Cli = { terminal: new Terminal(outputLost), signal, exitCode: 0 };

/** Output that nobody reads any more has ended the command already; what is still to be said is dropped. */
const quietly = (work: Promise<void>) => work.catch(() => {});
/** On stderr, where there is more to say than the exit code. */
const tell = async (text: string) => text && cli.terminal.say(text);

try {
  await (await build(process.argv[2])).parseAsync();
} catch (error) {
  const failure = describeFailure(cli.signal.aborted ? cli.signal.reason : error);
  cli.exitCode = failure.exitCode;
  if (failure.exitCode !== 0 && wantsJson())
    await cli.terminal.json(failure.document).catch(() => tell(failure.text));
  else await tell(failure.text);
}
await cli.terminal.drain();
process.exit(cli.exitCode);

/** `first`: the first word of the command line, which names a verb or asks for something about all of them. */
async function build(first: string | undefined): Promise<Command> {
  const program = new Command("capsa")
    .description("Throw-away Linux machines for programs.")
    .version(pkg.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .showSuggestionAfterError()
    .showHelpAfterError("  capsa --help lists what there is")
    .configureOutput({
      writeOut: (text) => void quietly(cli.terminal.write(text)),
      writeErr: (text) => void (wantsJson() || cli.terminal.writeError(printable(text))),
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
