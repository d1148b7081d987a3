/** `capsa metrics`: what sandboxes use. */

import type { Command } from "commander";
import { printableLine } from "../../errors/printable.ts";
import type { SandboxEntry, SandboxMetrics } from "../../sandbox/api.ts";
import { attach, find, list } from "../../sandbox/registry.ts";
import type { Labels } from "../../spec/labels.ts";
import { formatDuration, MIB } from "../../spec/units.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";
import { formatTable } from "../output.ts";

interface Options {
  readonly json?: true;
  readonly prometheus?: true;
}

export function metrics(program: Command, cli: Cli): void {
  program
    .command("metrics")
    .summary("show what sandboxes use of this machine")
    .description(
      "Show processor time, memory, files and network of one sandbox, or of all that run. MEMORY is this machine's " +
        "memory that the sandbox holds. FREE is what its programs can still use.",
    )
    .argument("[name]", "name or id of one, as `capsa ps` lists it")
    .option("--json", "print a JSON list, in bytes and milliseconds")
    .option("--prometheus", "print Prometheus's text format, in bytes and seconds")
    .addHelpText("after", "\nExamples:\n  $ capsa metrics\n  $ capsa metrics --prometheus >capsa.prom")
    .action((name: string | undefined, options: Options) => run(name, options, cli));
}

async function run(name: string | undefined, options: Options, { terminal }: Cli): Promise<void> {
  if (options.json && options.prometheus)
    throw new UsageError("--json and --prometheus cannot be combined", "give one of them");
  const samples = name === undefined ? await all() : [await sample(await find(name))];
  if (options.prometheus) return terminal.write(prometheusText(samples));
  if (options.json) return terminal.json(samples.map(({ metrics, ...rest }) => ({ ...rest, ...metrics })));
  const head = ["NAME", "STATE", "UP", "CPU", "MEMORY", "FREE", "READ", "WRITTEN", "RECEIVED", "SENT"];
  await terminal.write(formatTable(head, samples.map(row)));
}

/** Of those that do not end meanwhile. */
async function all(): Promise<Sample[]> {
  const samples = await Promise.allSettled((await list()).map(sample));
  return samples.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
}

async function sample({ id, name, spec }: Pick<SandboxEntry, "id" | "name" | "spec">): Promise<Sample> {
  await using vm = await attach(id);
  return { name, id, labels: spec.labels ?? {}, metrics: await vm.metrics() };
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

/** One sandbox and what it uses. */
export interface Sample {
  readonly name: string;
  readonly id: string;
  readonly labels: Labels;
  readonly metrics: SandboxMetrics;
}

interface Family {
  /** After "capsa_sandbox_"; base units, and `_total` for what only grows. */
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
  /** Undefined: this sandbox has none. */
  readonly value: (metrics: SandboxMetrics) => number | undefined;
}

const families: readonly Family[] = [
  {
    name: "up",
    type: "gauge",
    help: "1 while the sandbox's processors run, 0 while it is paused, starting or ending.",
    value: ({ state }) => (state === "running" ? 1 : 0),
  },
  {
    name: "uptime_seconds",
    type: "gauge",
    help: "Time since the start of the sandbox.",
    value: ({ uptimeMs }) => uptimeMs / 1000,
  },
  {
    name: "cpu_seconds_total",
    type: "counter",
    help: "Processor time of the host that the sandbox has used.",
    value: ({ cpuMs }) => cpuMs / 1000,
  },
  {
    name: "memory_size_bytes",
    type: "gauge",
    help: "Memory that the guest was given.",
    value: ({ memory }) => memory.sizeBytes,
  },
  {
    name: "memory_current_bytes",
    type: "gauge",
    help: "Memory that the guest is left with, as the guest says.",
    value: ({ memory }) => memory.currentBytes,
  },
  {
    name: "memory_resident_bytes",
    type: "gauge",
    help: "Memory of the host that the sandbox holds.",
    value: ({ memory }) => memory.residentBytes,
  },
  {
    name: "memory_available_bytes",
    type: "gauge",
    help: "Memory that the guest's programs could still have, as the guest says.",
    value: ({ memory }) => memory.guestAvailableBytes,
  },
  {
    name: "shares_read_bytes_total",
    type: "counter",
    help: "Bytes of files that the guest has read from the host.",
    value: ({ shares }) => shares.readBytes,
  },
  {
    name: "shares_written_bytes_total",
    type: "counter",
    help: "Bytes of files that the guest has written to the host.",
    value: ({ shares }) => shares.writtenBytes,
  },
  {
    name: "shares_requests_total",
    type: "counter",
    help: "Requests to shares, of whatever kind.",
    value: ({ shares }) => shares.requests,
  },
  {
    name: "network_receive_bytes_total",
    type: "counter",
    help: "Bytes of Ethernet frames that the guest has received.",
    value: ({ network }) => network?.receivedBytes,
  },
  {
    name: "network_transmit_bytes_total",
    type: "counter",
    help: "Bytes of Ethernet frames that the guest has sent.",
    value: ({ network }) => network?.sentBytes,
  },
];

/** All families in order, each with a line a sandbox; a family that nobody has is left out. */
export function prometheusText(samples: readonly Sample[]): string {
  return families
    .map(({ name, type, help, value }) => {
      const lines = samples.flatMap((sample) => {
        const number = value(sample.metrics);
        return number === undefined ? [] : [`capsa_sandbox_${name}{${labelsOf(sample)}} ${number}\n`];
      });
      const head = `# HELP capsa_sandbox_${name} ${help}\n# TYPE capsa_sandbox_${name} ${type}\n`;
      return lines.length === 0 ? "" : head + lines.join("");
    })
    .join("");
}

/** Those of the sandbox have a prefix: none can pass for a name or an id. */
function labelsOf({ name, id, labels }: Sample): string {
  const own = Object.entries(labels).map(([label, value]) => [`label_${label}`, value] as const);
  const all = [["name", name], ["id", id], ...own] as const;
  return all.map(([label, value]) => `${label}="${escaped(value)}"`).join(",");
}

function escaped(value: string): string {
  return printableLine(value).replace(/[\\"]/g, "\\$&");
}
