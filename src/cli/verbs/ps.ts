/** `capsa ps`: the sandboxes that run. */
import type { Command } from "commander";
import type { ExitStatus, ProcessEntry } from "../../agent/api.ts";
import { CapsaError } from "../../errors/errors.ts";
import { printableJson, printableLine } from "../../errors/printable.ts";
import type { Confinement } from "../../sandbox/confinement.ts";
import { attach, list } from "../../sandbox/registry.ts";
import { hasLabels, type WantedLabel } from "../../spec/labels.ts";
import type { Cli } from "../cli.ts";
import { collect, parseLabel } from "../options.ts";
import { formatTable } from "../output.ts";
import { tellPending } from "../pending.ts";
import { withAgent } from "../run_program.ts";

interface Options {
  readonly label?: readonly WantedLabel[];
  readonly json?: true;
}

export function ps(program: Command, cli: Cli): void {
  program
    .command("ps")
    .summary("list running sandboxes, or the processes of one")
    .description(
      "List the running sandboxes, and those with pending changes in transactional shares. With a name, list the " +
        "processes that `capsa exec -d` started in that sandbox, running or recently ended.",
    )
    .argument("[name]", "name or id of a sandbox")
    .option("--label <name=value>", "only sandboxes with this label; may be repeated", collect(parseLabel))
    .option("--json", "print a JSON list, which also shows how each process is confined")
    .action((name: string | undefined, options: Options) =>
      name === undefined ? sandboxes(options, cli) : processes(name, options, cli),
    );
}

async function sandboxes(options: Options, { terminal }: Cli): Promise<void> {
  const running = (await list()).filter(({ spec }) => hasLabels(spec.labels, options.label ?? []));
  if (options.json) {
    const entries = running.map(async ({ id, name, engine, pid, created, detached, ports, spec }) => {
      const { cpus, memoryMb, labels = {} } = spec;
      const confinement = await confinementOf(id);
      return { id, name, labels, engine, pid, created, detached, cpus, memoryMb, ports, confinement };
    });
    return terminal.json(await Promise.all(entries));
  }
  const rows = running.map(({ id, name, engine, pid, created, spec }) => {
    const labels = Object.entries(spec.labels ?? {}).map(([label, value]) => `${label}=${value}`);
    const { cpus, memoryMb } = spec;
    const size = [String(cpus), `${memoryMb} MiB`];
    return [name, id, engine, ...size, String(pid), age(created), printableLine(labels.join(","))];
  });
  const labelled = rows.some((row) => row.at(-1) !== "");
  const head = ["NAME", "ID", "ENGINE", "CPUS", "MEMORY", "PID", "UP", ...(labelled ? ["LABELS"] : [])];
  await terminal.write(formatTable(head, labelled ? rows : rows.map((row) => row.slice(0, -1))));
  await tellPending(terminal);
}

/** Undefined of one that is about to end. */
async function confinementOf(id: string): Promise<Confinement | undefined> {
  try {
    await using vm = await attach(id);
    return await vm.confinement();
  } catch (error) {
    if (error instanceof CapsaError) return undefined;
    throw error;
  }
}

async function processes(name: string, options: Options, cli: Cli): Promise<void> {
  await withAgent(name, cli, async (agent) => {
    const entries = await agent.processes({ signal: cli.signal });
    if (options.json) return cli.terminal.json(entries);
    await cli.terminal.write(describeProcesses(entries));
  });
}

export function describeProcesses(entries: readonly ProcessEntry[]): string {
  const rows = entries.map(({ id, pid, argv, started, status }) => {
    return [String(id), String(pid), status ? endOf(status) : "running", age(started), shown(argv)];
  });
  return formatTable(["ID", "PID", "STATE", "STARTED", "COMMAND"], rows);
}

function endOf({ exitCode, signal, timedOut, oomKilled }: ExitStatus): string {
  if (timedOut) return "timed out";
  if (oomKilled) return "out of memory";
  return signal ?? `exited with ${exitCode}`;
}

/** Arguments as one line: those that a shell would not take for one word are in quotes. */
function shown(argv: readonly string[]): string {
  return argv
    .map((argument) => (/^[\w@%+=:,./-]+$/.test(argument) ? argument : printableJson(argument)))
    .join(" ");
}

/** Time since, in the largest unit that says something: "12 s", "5 min", "3 h", "2 d". */
function age(since: Date): string {
  const seconds = Math.max(0, Math.floor((Date.now() - since.getTime()) / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
