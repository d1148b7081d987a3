/** `capsa ps`: the sandboxes that run. */
import type { Command } from "commander";
import { list } from "../../sandbox/registry.ts";
import type { Cli } from "../cli.ts";
import { formatTable } from "../table.ts";

export function ps(program: Command, { terminal }: Cli): void {
  program
    .command("ps")
    .summary("list the sandboxes that run")
    .option("--json", "as a JSON list")
    .action(async (options: { json?: true }) => {
      const sandboxes = await list();
      if (options.json) {
        return terminal.json(
          sandboxes.map(({ id, name, engine, pid, created, detached, spec }) => {
            return { id, name, engine, pid, created, detached, cpus: spec.cpus, memoryMb: spec.memoryMb };
          }),
        );
      }
      const rows = sandboxes.map(({ id, name, engine, pid, created, spec }) => {
        return [name, id, engine, String(spec.cpus), `${spec.memoryMb} MiB`, String(pid), age(created)];
      });
      await terminal.write(formatTable(["NAME", "ID", "ENGINE", "CPUS", "MEMORY", "PID", "UP"], rows));
    });
}

/** Time since, in the largest unit that says something: "12 s", "5 min", "3 h", "2 d". */
function age(since: Date): string {
  const seconds = Math.max(0, Math.floor((Date.now() - since.getTime()) / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
