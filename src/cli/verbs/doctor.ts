/** `capsa doctor`: can a sandbox start here, on which engine, and what would make it better? */
import type { Command } from "commander";
import type { Colors } from "picocolors/types";
import { printableLine } from "../../errors/printable.ts";
import type { Cli } from "../cli.ts";
import { diagnose, type Finding } from "../diagnosis.ts";
import { exitCodes } from "../failure.ts";

export function doctor(program: Command, cli: Cli): void {
  program
    .command("doctor")
    .summary("show what this machine can do, and how to fix what it cannot")
    .description(
      "Check everything that a start needs. The exit code is 0 if a sandbox can start here, 1 if not.",
    )
    .option("--json", "print the findings as JSON")
    .action((options: { json?: true }) => run(options, cli));
}

async function run(options: { json?: true }, cli: Cli): Promise<void> {
  const { terminal } = cli;
  const findings = await diagnose();
  const able = findings.every(({ state }) => state !== "bad");
  cli.exitCode = able ? 0 : exitCodes.failed;
  if (options.json) return terminal.json({ able, findings });
  const colors = await terminal.colors();
  for (const finding of findings) await terminal.write(`${describe(finding, colors)}\n`);
  await terminal.print(
    able ? "\nA sandbox can start here." : "\nNo sandbox can start here before what is marked ✗ is mended.",
  );
}

function describe({ name, state, found, mend }: Finding, colors: Colors): string {
  const mark = { ok: colors.green("✓"), note: colors.yellow("!"), bad: colors.red("✗") }[state];
  const lines = [`${mark} ${name.padEnd(18)} ${printableLine(found)}`];
  if (mend && state !== "ok") lines.push(`${" ".repeat(21)}${colors.dim("mend:")} ${printableLine(mend)}`);
  return lines.join("\n");
}
