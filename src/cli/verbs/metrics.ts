/** `capsa metrics`: what sandboxes use. */
import type { Command } from "commander";
import { attach, list } from "../../sandbox/registry.ts";
import { formatDuration } from "../../spec/units.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";
import { formatTable } from "../output.ts";
import { prometheusText, type Sample } from "../prometheus.ts";

interface Options {
  readonly json?: true;
  readonly prometheus?: true;
}

const MIB = 1024 ** 2;

export function metrics(program: Command, cli: Cli): void {
  program
    .command("metrics")
    .summary("show what sandboxes use of this machine")
    .description(
      "Processor time, memory, files and network of one sandbox, or of all that run. MEMORY is what of this machine's it " +
        "holds, FREE what its programs could still have.",
    )
    .argument("[name]", "name or id of one, as `capsa ps` lists it")
    .option("--json", "as a JSON list: bytes and milliseconds")
    .option("--prometheus", "in Prometheus's text format: bytes and seconds")
    .addHelpText("after", "\nExamples:\n  $ capsa metrics\n  $ capsa metrics --prometheus >capsa.prom")
    .action((name: string | undefined, options: Options) => run(name, options, cli));
}

async function run(name: string | undefined, options: Options, { terminal }: Cli): Promise<void> {
  if (options.json && options.prometheus)
    throw new UsageError("--json and --prometheus are two formats", "give one of them");
  const samples = name === undefined ? await all() : [await sample(name)];
  if (options.prometheus) return terminal.write(prometheusText(samples));
  if (options.json) return terminal.json(samples.map(({ name, id, metrics }) => ({ name, id, ...metrics })));
  const head = ["NAME", "STATE", "UP", "CPU", "MEMORY", "FREE", "READ", "WRITTEN", "RECEIVED", "SENT"];
  await terminal.write(formatTable(head, samples.map(row)));
}

/** Of those that do not end meanwhile. */
async function all(): Promise<Sample[]> {
  const samples = await Promise.allSettled((await list()).map(({ id }) => sample(id)));
  return samples.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
}

async function sample(nameOrId: string): Promise<Sample> {
  await using vm = await attach(nameOrId);
  return { name: vm.name, id: vm.id, metrics: await vm.metrics() };
}

function row({ name, metrics }: Sample): string[] {
  const { state, uptimeMs, cpuMs, memory, shares, network } = metrics;
  const bytes = [
    memory.residentBytes,
    memory.guestAvailableBytes,
    shares.readBytes,
    shares.writtenBytes,
    network?.receivedBytes,
    network?.sentBytes,
  ];
  const mib = bytes.map((count) => (count === undefined ? "-" : `${(count / MIB).toFixed(1)} MiB`));
  return [name, state, formatDuration(uptimeMs), formatDuration(cpuMs), ...mib];
}
