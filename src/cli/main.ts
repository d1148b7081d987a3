#!/usr/bin/env bun
/** The `capsa` command: its verbs, and what happens when one fails. */
import { Command } from "commander";
import pkg from "../../package.json" with { type: "json" };
import type { Cli } from "./cli.ts";
import { describeFailure, exitCodes } from "./failure.ts";
import { watchInterrupts } from "./interrupt.ts";
import { Terminal } from "./terminal.ts";
import { check } from "./verbs/check.ts";
import { doctor } from "./verbs/doctor.ts";
import { down } from "./verbs/down.ts";
import { exec } from "./verbs/exec.ts";
import { init } from "./verbs/init.ts";
import { kernel } from "./verbs/kernel.ts";
import { logs } from "./verbs/logs.ts";
import { ps } from "./verbs/ps.ts";
import { schema } from "./verbs/schema.ts";
import { up } from "./verbs/up.ts";

const cli: Cli = { terminal: new Terminal(), signal: watchInterrupts(), exitCode: 0 };

/** Output that nobody reads any more has ended the command already; what is still to be said is dropped. */
const quietly = (work: Promise<void>) => work.catch(() => {});

try {
  await build().parseAsync();
} catch (error) {
  const failure = describeFailure(cli.signal.aborted ? cli.signal.reason : error);
  cli.exitCode = failure.exitCode;
  if (failure.exitCode !== 0 && wantsJson()) await quietly(cli.terminal.json(failure.document));
  else if (failure.text) await cli.terminal.say(failure.text);
}
process.exit(cli.exitCode);

function build(): Command {
  const program = new Command("capsa")
    .description("Throw-away Linux machines for programs.")
    .version(pkg.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .showSuggestionAfterError()
    .showHelpAfterError("  capsa --help lists what there is")
    .configureOutput({ writeErr: (text) => void (wantsJson() || cli.terminal.writeError(text)) })
    .exitOverride()
    .addHelpText(
      "after",
      `
Examples:
  $ capsa init && capsa up                       a first sandbox
  $ capsa up -d && capsa exec hello -- ls -l /   (\`capsa ps\` lists names)
  $ capsa doctor                                 what this machine can do

Exit codes: ${exitCodes.failed} a step failed, ${exitCodes.usage} the command line or the file is wrong, ${exitCodes.capsa} capsa failed, 130 Ctrl-C;
\`exec\` and an \`up\` without steps pass on the guest's.`,
    );
  for (const verb of [up, exec, ps, logs, down, init, check, schema, doctor, kernel]) verb(program, cli);
  return program;
}

function wantsJson(): boolean {
  const end = process.argv.indexOf("--");
  return process.argv.slice(2, end === -1 ? undefined : end).includes("--json");
}
