/**
 * A table: a row a tool (./table.ts), a column a share and who works in it (./column.ts). In each place the tool does what it
 * does on a disk, while this machine edits files beside it and takes changes over, and then both see the same.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { ownState } from "../../unit/changes/staged.ts";
import { type Column, type Columns, onDisk, soaking, startColumns } from "./column.ts";
import { type Neighbour, neighbour, once, overAndOver } from "./neighbour.ts";
import { isHere, TOOLS, type Tool } from "./table.ts";

const SEEDS = soaking ? Array.from({ length: 5 }, () => Math.floor(Math.random() * 1e6)) : [1];
let columns: Columns;
ownState();
beforeAll(async () => {
  columns = await startColumns();
}, 60_000);
afterAll(() => columns?.[Symbol.asyncDispose]());

/** What is wrong with the tool in that column; nothing, if it does as on a disk. */
async function wrong(tool: Tool, column: Column, seed: number): Promise<readonly string[]> {
  const directory = `${tool.name.replace(/\W+/g, "-")}-${seed}`;
  const host = join(column.host, directory);
  mkdirSync(host);
  chmodSync(host, 0o777);
  // what is cached for ever is nobody else's to change
  const beside: Neighbour[] = column.mode === "always" ? [] : [neighbour(host)];
  // what it cannot have while the tool is at it waits for the last time
  if (column.apply) beside.push(overAndOver(500, () => column.apply!(directory)));
  const command = tool.command(seed, soaking ? 10 : 1);
  const script = `SIDES='one other'; mkdir work; cd work; ${command}`;
  if (tool.both) beside.push(once(otherSide(command, host)));
  const stopAll = () => Promise.allSettled(beside.map((one) => one.stop()));
  const { exitCode, stdout, stderr } = await column.run(script, directory).catch(async (error) => {
    await stopAll();
    throw error;
  });
  const others = (await stopAll()).flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []));
  const printed = `${stdout}${stderr}`;
  if (exitCode !== 0 || printed !== "") others.unshift(`exit code ${exitCode}: ${printed.slice(-4000)}`);
  if (others.length > 0) return others;
  if (column.mode === "disk") return [];
  const refused = (await column.apply?.(directory)) ?? [];
  return refused.length > 0 ? refused : await differences(column, directory, host);
}

/** The same program on this machine, in the same directory once it is there. */
async function otherSide(command: string, directory: string): Promise<void> {
  const script = `until [ -d work ]; do sleep 0.05; done; SIDES='other one'; cd work; ${command}`;
  const { exitCode, stdout, stderr } = await onDisk(script, directory, columns.tools, process.getuid!());
  if (exitCode !== 0) throw new Error(`this machine's side: exit code ${exitCode}: ${stdout}${stderr}`);
}

/** Between what a guest and this machine see in a directory: none, at the latest when the guest's cache has aged. */
async function differences(column: Column, directory: string, host: string): Promise<readonly string[]> {
  const script = `python3 "$TOOLS/view.py" .${column.apply ? "" : " exact"}`;
  const look = async () => {
    const [guest, here] = await Promise.all([
      column.run(script, directory),
      onDisk(script, host, columns.tools, process.getuid!()),
    ]);
    if (guest.exitCode !== 0) return [`the guest: ${guest.stderr}`];
    if (here.exitCode !== 0) return [`this machine: ${here.stderr}`];
    const [ours, theirs] = [new Set(here.stdout.split("\n")), new Set(guest.stdout.split("\n"))];
    return [
      ...[...ours.difference(theirs)].map((line) => `this machine alone: ${line}`),
      ...[...theirs.difference(ours)].map((line) => `the guest alone: ${line}`),
    ];
  };
  let seen = await look();
  for (const end = performance.now() + 20_000; seen.length > 0 && performance.now() < end; ) {
    await Bun.sleep(500);
    seen = await look();
  }
  return seen;
}

function isFor({ mode, first, apply }: Column, { users, maps, both }: Tool): boolean {
  if (mode === "always") return maps ?? false;
  if (apply && both) return false; // each side has files of its own
  return first || (users ?? false) || (soaking && mode !== "disk");
}

for (const tool of TOOLS)
  test.skipIf(!isHere(tool))(
    isHere(tool) ? tool.name : `${tool.name}, which needs ${tool.needs}`,
    async () => {
      const places = columns.all.filter((column) => isFor(column, tool));
      for (const seed of SEEDS) {
        const told = await Promise.all(
          places.map(async (column) => [column.name, await wrong(tool, column, seed)] as const),
        );
        expect(Object.fromEntries(told)).toEqual(Object.fromEntries(told.map(([name]) => [name, []])));
      }
    },
    soaking ? 3_600_000 : 600_000,
  );
