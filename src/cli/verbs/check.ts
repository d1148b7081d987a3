/** `capsa check`: is the file right, and what does it say? */
import type { Command } from "commander";
import { loadConfig } from "../../config/load.ts";
import type { Cli } from "../cli.ts";
import { formatTable } from "../output.ts";

export function check(program: Command, { terminal }: Cli): void {
  program
    .command("check")
    .summary("check a capsa.toml without booting anything")
    .argument("[file]", "the file", "capsa.toml")
    .option("--json", "print the sandboxes and steps of the file as JSON")
    .action(async (file: string, options: { json?: true }) => {
      const { sandboxes, steps, file: path } = loadConfig(file);
      if (options.json) {
        // a RegExp has no JSON of its own
        const plain = JSON.parse(
          JSON.stringify(steps, (_, value) => (value instanceof RegExp ? value.source : value)),
        );
        return terminal.json({ file: path, sandboxes, steps: plain });
      }
      const rows = sandboxes.map((spec) => [
        spec.name,
        `${spec.cpus} CPU${spec.cpus > 1 ? "s" : ""}`,
        `${spec.memoryMb} MiB`,
        spec.rootfs.kind === "directory" ? spec.rootfs.path : spec.rootfs.kind,
        spec.shares.map(({ guest, mode }) => `${guest} (${mode})`).join(" "),
      ]);
      await terminal.write(formatTable(["SANDBOX", "CPUS", "MEMORY", "ROOTFS", "SHARES"], rows));
      await terminal.print(`${steps.length} step${steps.length === 1 ? "" : "s"}; the file is right`);
    });
}
