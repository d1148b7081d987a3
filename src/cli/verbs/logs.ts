/** `capsa logs`: what a sandbox's main process has printed. */
import type { Command } from "commander";
import { printable } from "../../errors/printable.ts";
import type { LogEntry } from "../../sandbox/api.ts";
import { attach, readLog, readNetworkLog } from "../../sandbox/registry.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";

interface Options {
  readonly follow?: true;
  readonly network?: true;
  readonly json?: true;
}

export function logs(program: Command, cli: Cli): void {
  program
    .command("logs")
    .summary("show what a sandbox's main process has printed")
    .description(
      "Show what the main process of a sandbox has printed. The sandbox is running, or was detached and has ended.",
    )
    .argument("<name>", "name or id, as `capsa ps` lists it")
    .option("-f, --follow", "continue until the sandbox ends")
    .option("--network", "show what its network has refused or logged instead, and which rule would allow it")
    .option("--json", 'print JSON Lines: {"stream": "stdout", "text": "…"} for each piece')
    .action((name: string, options: Options) => run(name, options, cli));
}

async function run(name: string, options: Options, { terminal, signal }: Cli): Promise<void> {
  if (options.network) {
    if (options.follow || options.json)
      throw new UsageError("--network cannot be combined with --follow or --json");
    return terminal.write(printable(await readNetworkLog(name)));
  }
  const tell = ({ stream, data }: LogEntry) => {
    if (options.json) return terminal.jsonLine({ stream, text: new TextDecoder().decode(data) });
    return stream === "stdout" ? terminal.write(data) : terminal.writeError(data);
  };
  if (!options.follow) {
    for (const entry of await readLog(name)) await tell(entry);
    return;
  }
  await using vm = await attach(name);
  signal.addEventListener("abort", () => void vm[Symbol.asyncDispose]());
  for (const entry of await readLog(name)) await tell(entry);
  const copy = async (stream: LogEntry["stream"]) => {
    for await (const data of vm[stream]) await tell({ stream, data });
  };
  await Promise.all([copy("stdout"), copy("stderr")]);
  signal.throwIfAborted();
}
