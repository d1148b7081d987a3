/**
 * Random programs of a guest and this machine, by turns in one directory, against a model of what each should see
 * (./model.ts). One that fails is run again, to tell with its seed the fewest of its first steps that do.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../../src/index.ts";
import { ownState } from "../../unit/changes/staged.ts";
import { nothing, soaking } from "./column.ts";
import { type Deed, Model, program, type Seen, type Step } from "./model.ts";

const PROGRAMS = soaking ? 100 : 20;
const DEEDS = soaking ? 1000 : 500;
/** Programs that run at once, each in a directory of its own. */
const AT_ONCE = 4;
/** Turns from one look at both sides to the next. */
const BETWEEN_LOOKS = 20;

let top: string;
let vm: RunningSandbox;
let agent: Agent;
let serial = 0;
ownState();

beforeAll(async () => {
  top = mkdtempSync(join(tmpdir(), "capsa-model-"));
  for (const place of ["tools", "rw", "transaction"]) mkdirSync(join(top, place));
  cpSync(join(import.meta.dirname, "tools/deeds.py"), join(top, "tools/deeds.py"));
  vm = await Capsa.sandbox()
    .memoryMb(512)
    .cpus(2)
    .rootfs("host")
    .share(join(top, "tools"), "/tools", MountMode.ReadOnly)
    .share(join(top, "rw"), "/rw", { mode: MountMode.ReadWrite, cache: "never" })
    .share(join(top, "transaction"), "/transaction", { mode: MountMode.Transaction, cache: "never" })
    .run("/bin/sleep", ["infinity"])
    .build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
}, 60_000);
afterAll(async () => {
  await agent?.close();
  await vm?.kill();
  rmSync(top, { recursive: true, force: true });
});

/** A program in the guest that does there what it is told. */
async function guestIn(directory: string) {
  const child = await agent.spawn(["python3", "/tools/deeds.py", directory], { stdin: "pipe" });
  const writer = child.stdin!.getWriter();
  const lines = child.stdout.lines();
  return {
    async ask(deeds: readonly Deed[], look: boolean): Promise<Seen> {
      await writer.write(new TextEncoder().encode(`${JSON.stringify({ deeds, look })}\n`));
      const { value, done } = await lines.next();
      if (done) throw new Error(`the guest's program ended: ${await child.stderr.text()}`);
      const { failed, seen } = JSON.parse(value) as { failed?: string; seen?: Seen };
      if (failed) throw new Error(`the guest: ${failed}`);
      return seen ?? {};
    },
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

function onHost(directory: string, { do: what, args }: Deed): void {
  const [path, to] = [join(directory, args[0]!), args[1] ?? ""];
  const kinds: Record<Deed["do"], () => void> = {
    write: () => writeFileSync(path, to),
    append: () => appendFileSync(path, to),
    save: () => {
      writeFileSync(join(directory, ".saving"), to);
      renameSync(join(directory, ".saving"), path);
    },
    remove: () => unlinkSync(path),
    mkdir: () => mkdirSync(path),
    rmtree: () => rmSync(path, { recursive: true }),
    move: () => renameSync(path, join(directory, to)),
    chmod: () => chmodSync(path, Number.parseInt(to, 8)),
    link: () => symlinkSync(to, path),
  };
  kinds[what]();
}

function look(directory: string, below = ""): Seen {
  const seen: Seen = {};
  for (const name of readdirSync(join(directory, below))) {
    const path = join(below, name);
    const status = lstatSync(join(directory, path));
    if (status.isSymbolicLink()) seen[path] = `-> ${readlinkSync(join(directory, path))}`;
    else if (status.isDirectory()) Object.assign(seen, { [path]: "directory" }, look(directory, path));
    else seen[path] = `${(status.mode & 0o7777).toString(8)} ${readFileSync(join(directory, path), "utf8")}`;
  }
  return seen;
}

function differences(who: string, want: Seen, seen: Seen): string[] {
  return [...new Set([...Object.keys(want), ...Object.keys(seen)])]
    .filter((path) => want[path] !== seen[path])
    .map((path) => `${who}: ${path}: ${seen[path] ?? "nothing"}, not ${want[path] ?? "nothing"}`);
}

/** What goes wrong in the first `steps` of a program, looked at each `between` turns; with those that it took. */
async function run(mode: "rw" | "transaction", seed: number, between: number) {
  const name = `${seed}-${serial++}`;
  const host = join(top, mode, name);
  mkdirSync(host);
  await using guest = await guestIn(`/${mode}/${name}`);
  const model = new Model(mode === "transaction");
  const taken: Step[] = [];
  for (const step of program(model, seed, DEEDS, name)) {
    taken.push(step);
    const looks = taken.length % between === 0 || !("deeds" in step);
    const wrong: string[] = [];
    try {
      if (step.who === "apply") await apply(`/transaction/${name}`);
      else if (step.who === "discard") await vm.discard([`/transaction/${name}`]).catch(nothing([]));
      else if (step.who === "host") for (const deed of step.deeds) onHost(host, deed);
      const deeds = step.who === "guest" ? step.deeds : [];
      if (deeds.length > 0 || looks) {
        const seen = await guest.ask(deeds, looks);
        if (looks) wrong.push(...differences("the guest", model.seen("guest"), seen));
      }
      if (looks) wrong.push(...differences("this machine", model.seen("host"), look(host)));
      if (!("deeds" in step)) wrong.push(...(await changesIn(`/transaction/${name}/`)));
    } catch (error) {
      wrong.push(String(error));
    }
    if (wrong.length > 0) return { wrong, taken };
  }
  return { wrong: [], taken };
}

async function changesIn(directory: string): Promise<string[]> {
  const left = (await vm.changes()).filter(({ path }) => path.startsWith(directory));
  return left.map(({ kind, path }) => `still a change: ${kind} ${path}`);
}

/** All of it: where this machine has changed the same, the guest's side is taken. */
async function apply(directory: string): Promise<void> {
  const { refused } = await vm.apply([directory]).catch(nothing({ refused: [] }));
  if (refused.length === 0) return;
  const second = await vm.apply([directory], { force: true }).catch(nothing({ refused: [] }));
  if (second.refused.length > 0) throw new Error(`refused: ${JSON.stringify(second.refused)}`);
}

/** Nothing, if both see what they should; else how little of the program shows that they do not. */
async function report(mode: "rw" | "transaction", seed: number): Promise<string> {
  const first = await run(mode, seed, BETWEEN_LOOKS);
  if (first.wrong.length === 0) return "";
  const again = await run(mode, seed, 1);
  const { wrong, taken } = again.wrong.length > 0 ? again : first;
  const steps = taken.map((step) =>
    "deeds" in step
      ? `${step.who}: ${step.deeds.map(({ do: what, args }) => `${what} ${args.join(" ")}`).join("; ")}`
      : step.who,
  );
  return [`seed ${seed}, after ${steps.length} steps:`, ...steps, ...wrong].join("\n");
}

for (const mode of ["rw", "transaction"] as const)
  test(
    `${mode}: both see what they should, whoever changes what`,
    async () => {
      const seeds = Array.from({ length: PROGRAMS }, (_, n) => n + 1);
      const workers = Array.from({ length: AT_ONCE }, async () => {
        for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift())
          expect(await report(mode, seed)).toBe("");
      });
      await Promise.all(workers);
    },
    soaking ? 3_600_000 : 600_000,
  );
