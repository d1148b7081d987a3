/** What the share benchmarks have in common, whatever the engine: the files, capsa's half, and the rows. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { $ } from "bun";
import { Capsa, MountMode, sandbox } from "../../src/index.ts";
import { lastWords } from "./peer.ts";
import { type Row, row } from "./report.ts";
import { median } from "./statistics.ts";

/** Guest memory of both sides. */
export const memoryMb = 512;
/** What workload.sh does in one turn; in the first of them the guest has memory that the host has yet to give it. */
export const rounds = 3;
const warmUp = 1;
const bulkMiB = 192; // as in workload.sh
/** Either side has so long for one turn, of which it needs ten to thirty seconds where nobody disturbs it. */
export const turnSeconds = 300;

/** The guest's clock has steps of 10 ms: a walk should take many of them. */
export interface Tree {
  readonly directories: number;
  /** Files in each. */
  readonly each: number;
}

type Seconds = Record<"write" | "read" | "walk", number[]>;

/**
 * Plant `tree` in `directory`, run workload.sh on it in `peer`'s guest and in a sandbox, by turns, and compare the medians
 * of all turns: a host that is busy for a while is so for both. In each turn the workload does {@link rounds}, of which
 * the first does not count; `peer` gives what it printed, `before` comes before each. A peer that does not come to its end is
 * started once more; where that fails too, or capsa did, that is thrown with the end of its console.
 */
export async function compareShares(
  directory: string,
  tree: Tree,
  turns: number,
  peer: () => Promise<string>,
  before: () => Promise<void> = async () => {},
): Promise<Row[]> {
  await plant(directory, tree);
  const theirs: Seconds = { write: [], read: [], walk: [] };
  const ours: Seconds = { write: [], read: [], walk: [] };
  for (let turn = 0; turn < turns; turn++) {
    const sides = [
      async () => collect("capsa", await capsa(directory), ours),
      async () => collect("virtiofsd", await twice(peer), theirs),
    ];
    for (const side of turn % 2 === 0 ? sides : sides.reverse()) {
      await $`sync`; // what the one before has left to be written is not the next one's to wait for
      await before();
      await side();
    }
  }
  const rate = (amount: number, what: keyof Seconds) =>
    [amount / median(ours[what]), amount / median(theirs[what]), ">= 1.0"] as const;
  return [
    row("share, sequential write", "MiB/s", ...rate(bulkMiB, "write")),
    row("share, sequential read", "MiB/s", ...rate(bulkMiB, "read")),
    row("share, walk of small files", "files/s", ...rate(tree.directories * tree.each, "walk")),
  ];
}

async function plant(directory: string, tree: Tree): Promise<void> {
  for (let d = 0; d < tree.directories; d++) {
    const folder = join(directory, "tree", `directory-${d}`);
    mkdirSync(folder, { recursive: true });
    for (let f = 0; f < tree.each; f++) await Bun.write(join(folder, `file-${f}`), `${d} ${f}\n`);
  }
}

async function capsa(directory: string): Promise<string> {
  await using vm = await Capsa.sandbox()
    .memoryMb(memoryMb)
    .share(directory, "/share", MountMode.ReadWrite)
    .run("/bin/sleep", ["infinity"])
    .build();
  await using agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  await agent.writeFile("/workload.sh", Bun.file(join(import.meta.dir, "workload.sh")), { mode: 0o755 });
  try {
    const result = await agent.exec(["/workload.sh", "/share", String(rounds)], {
      timeoutMs: turnSeconds * 1000,
    });
    if (!result.ok) throw new Error(result.timedOut ? `not done after ${turnSeconds} s` : result.stderr);
    return result.stdout;
  } catch (error) {
    const output = await Bun.file(join(vm.runtimeDir, "console.log"))
      .text()
      .catch(() => "");
    throw new Error(`capsa: the workload failed: ${(error as Error).message}${lastWords(output)}`);
  }
}

async function twice(peer: () => Promise<string>): Promise<string> {
  try {
    return await peer();
  } catch (error) {
    console.error(`bench: virtiofsd: ${(error as Error).message}\nbench: once more`);
    return await peer();
  }
}

function collect(side: string, output: string, seconds: Seconds): void {
  const found = [...output.matchAll(/^(write|read|walk) ([\d.]+)\r?$/gm)];
  if (found.length !== 3 * rounds)
    throw new Error(`${side}: the guest ended before the workload did${lastWords(output)}`);
  for (const [, what, value] of found.slice(3 * warmUp)) seconds[what as keyof Seconds].push(Number(value));
}
