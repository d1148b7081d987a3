/** `capsa df`: how full the file systems of sandboxes are. */
import type { Command } from "commander";
import type { DiskUsage } from "../../agent/api.ts";
import type { SandboxEntry } from "../../sandbox/api.ts";
import { find, list } from "../../sandbox/registry.ts";
import { MIB } from "../../spec/units.ts";
import type { Cli } from "../cli.ts";
import { formatTable } from "../output.ts";
import { withAgent } from "../run_program.ts";

interface Options {
  readonly tree?: true;
  readonly json?: true;
}

interface Row extends DiskUsage {
  readonly name: string;
  readonly path: string;
}

export function df(program: Command, cli: Cli): void {
  program
    .command("df")
    .summary("show how full the file systems of sandboxes are")
    .description(
      "Show the file systems that hold the paths of a sandbox. Without paths, show those of its root and its " +
        "shares; without a name, those of all running sandboxes. FREE is what programs without privileges can still " +
        "use.",
    )
    .argument("[name]", "name or id of one, as `capsa ps` lists it")
    .argument("[path...]", "absolute paths in it")
    .option("--tree", "also count the space of each path and everything below it, as `du -x` does")
    .option("--json", "print a JSON list, in bytes and numbers of inodes")
    .addHelpText("after", "\nExamples:\n  $ capsa df\n  $ capsa df box --tree /project /tmp")
    .action((name: string | undefined, paths: string[], options: Options) => run(name, paths, options, cli));
}

async function run(
  name: string | undefined,
  paths: readonly string[],
  { tree = false, json }: { tree?: boolean; json?: true },
  cli: Cli,
): Promise<void> {
  const rows = name === undefined ? await all(tree, cli) : await rowsOf(await find(name), paths, tree, cli);
  if (json) return cli.terminal.json(rows);
  const head = ["NAME", "PATH", "SIZE", "USED", "FREE", "USE", "INODES", ...(tree ? ["TREE"] : [])];
  await cli.terminal.write(formatTable(head, rows.map(cells)));
}

/** Of those that do not end meanwhile. */
async function all(tree: boolean, cli: Cli): Promise<Row[]> {
  const rows = await Promise.allSettled((await list()).map((entry) => rowsOf(entry, [], tree, cli)));
  cli.signal.throwIfAborted();
  return rows.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
}

async function rowsOf(
  { id, name, spec }: Pick<SandboxEntry, "id" | "name" | "spec">,
  paths: readonly string[],
  tree: boolean,
  cli: Cli,
): Promise<Row[]> {
  const rows: Row[] = [];
  await withAgent(id, cli, async (agent) => {
    for (const path of paths.length > 0 ? paths : ["/", ...spec.shares.map(({ guest }) => guest)])
      rows.push({ name, path, ...(await agent.diskUsage(path, { tree, signal: cli.signal })) });
  });
  return rows;
}

function cells({ name, path, total, used, free, inodes, tree }: Row): string[] {
  const sizes = [total, used, free].map(mib);
  const shares = [share(used, free), share(inodes.used, inodes.free)];
  return [name, path, ...sizes, ...shares, ...(tree ? [mib(tree.bytes)] : [])];
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

/** As df rounds: what is not empty is not 0 %. */
function share(used: number, free: number): string {
  return used + free === 0 ? "-" : `${Math.ceil((100 * used) / (used + free))} %`;
}
