/** What a sandbox's processes may hold of this machine: each by itself, and all together where a cgroup is to be had. */

import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { chooseEngine } from "../../../src/engine/choose.ts";
import { alive, Machine, type Processes, untilGone } from "./machine.ts";

const MIB = 1 << 20;
const ROOT = "/sys/fs/cgroup";
const CGROUP2 = 0x63677270;
const { engine } = chooseEngine("auto");

let left: number[] = [];
afterEach(() => {
  for (const pid of left) if (alive(pid)) process.kill(pid, "SIGKILL");
  left = [];
});

async function up(change = {}): Promise<[Machine, Processes]> {
  const machine = await Machine.start({ engine, ...change });
  await machine.ready(120_000);
  const processes = await machine.processes();
  left.push(...Object.values(processes).filter((pid) => pid !== undefined));
  return [machine, processes];
}

/** In bytes; of no limit Infinity. */
function dataLimit(pid: number): number {
  const [, limit] = /^Max data size +(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, "utf8"))!;
  return limit === "unlimited" ? Number.POSITIVE_INFINITY : Number(limit);
}

async function limitsOf(machine: Machine): Promise<string[]> {
  const { confinement } = (await machine.status()) as never as {
    confinement: Record<string, { limits: { detail: string } }>;
  };
  return Object.values(confinement).map(({ limits }) => limits.detail);
}

test("each process is held to so much memory of its own, and that is told", async () => {
  const [machine, { vmm, qemu }] = await up();
  const pids = engine === "qemu" ? [vmm, qemu] : [vmm];
  const details = await limitsOf(machine);
  for (const [index, pid] of pids.entries()) {
    expect(dataLimit(pid)).toBeLessThan(4096 * MIB);
    expect(details[index]).toContain(`, ${dataLimit(pid) / MIB} MiB of data`);
  }
  await machine.stop();
}, 180_000);

test("whoever has large stacks for threads has sandboxes all the same", async () => {
  const stack = (soft: string) => Bun.spawnSync(["prlimit", "--pid", `${process.pid}`, `--stack=${soft}:`]);
  const [, before] = /^Max stack size +(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))!;
  expect(stack(`${2048 * MIB}`).exitCode).toBe(0);
  try {
    const [machine] = await up();
    await machine.stop();
  } finally {
    stack(before!);
  }
}, 180_000);

test('with confine = "none" they are not', async () => {
  const [machine, { vmm }] = await up({ confine: "none" });
  expect(dataLimit(vmm)).toBe(dataLimit(process.pid));
  expect(readFileSync(`/proc/${vmm}/cgroup`, "utf8")).toBe(readFileSync("/proc/self/cgroup", "utf8"));
  await machine.stop();
}, 180_000);

/** Whether this process may make cgroups with a limit of memory, by making one. */
function canGroup(): boolean {
  const probe = join(ROOT, "capsa-test-probe");
  try {
    if (statfsSync(ROOT).type !== CGROUP2 || process.getuid?.() !== 0) return false;
    mkdirSync(probe);
    const can = readFileSync(join(ROOT, "cgroup.controllers"), "utf8").split(/\s/).includes("memory");
    rmdirSync(probe);
    return can;
  } catch {
    return false;
  }
}

/** The lab has them: where they are missing there, these tests fail. */
const inLab = process.env.CAPSA_LAB !== undefined;
const why = inLab || canGroup() ? "" : " (skipped: this user may make no cgroups of version 2 here)";
describe.skipIf(why !== "")(`all together${why}`, () => {
  const groupOf = (pid: number) => /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))![1]!;
  const pathOf = (pid: number) => ROOT + groupOf(pid);

  /** The cgroup, once VMM and QEMU are in it. */
  async function held({ keeper, vmm, qemu }: Processes): Promise<string> {
    const late = Date.now() + 10_000;
    const inIt = (pid: number) => groupOf(pid).endsWith(`/capsa-${keeper}`);
    while (!(inIt(vmm) && (qemu === undefined || inIt(qemu)))) {
      if (Date.now() > late) throw new Error(`VMM in ${groupOf(vmm)}, QEMU ${qemu}`);
      await Bun.sleep(10);
    }
    return pathOf(vmm);
  }

  test("VMM and QEMU are in a cgroup with a limit, which is told; keeper and janitor stay where they were", async () => {
    const [machine, processes] = await up();
    const group = await held(processes);
    const max = Number(readFileSync(join(group, "memory.max"), "utf8"));
    expect(max).toBeGreaterThan(128 * MIB);
    expect(max).toBeLessThan(4096 * MIB);
    expect(readFileSync(join(group, "memory.oom.group"), "utf8")).toBe("1\n");
    expect(Number(readFileSync(join(group, "pids.max"), "utf8"))).toBeGreaterThan(8);
    for (const pid of [processes.keeper, processes.janitor]) expect(groupOf(pid)).toBe(groupOf(process.pid));
    for (let tries = 0; !(await limitsOf(machine))[0]!.includes("cgroup") && tries < 100; tries++)
      await Bun.sleep(10);
    for (const detail of await limitsOf(machine)) expect(detail).toContain(`by a cgroup, ${max / MIB} MiB`);
    await machine.stop();
    expect(existsSync(group)).toBe(false);
  }, 180_000);

  test("who holds more than that ends, with a reason", async () => {
    const [machine, processes] = await up();
    const group = await held(processes);
    // what it holds by now is too much
    writeFileSync(join(group, "memory.swap.max"), "0");
    writeFileSync(join(group, "memory.max"), String(4 * MIB));
    await machine.agent({ id: 1, op: "ping" }).catch(() => undefined);
    const last = await machine.gone();
    expect(await machine.event("failed")).toMatchObject({
      code: "HOST_MEMORY_LIMIT",
      message: expect.stringMatching(/held \d+ MiB/),
    });
    expect(last).toEqual({ event: "exited", reason: "failed" });
    expect(existsSync(group)).toBe(false);
  }, 180_000);

  /** Until all of them have ended, and `directory` is gone. */
  async function kill(names: (keyof Processes)[], processes: Processes, directory: string): Promise<void> {
    for (const name of names) if (alive(processes[name])) process.kill(processes[name], "SIGKILL");
    const all = Object.values(processes).filter((pid) => pid !== undefined);
    await untilGone(all, directory, 3000);
  }

  for (const names of [["keeper"], ["vmm"], ["keeper", "vmm"]] as (keyof Processes)[][])
    test(`it is gone after kill -9 of ${names.join(" and ")}`, async () => {
      const [, processes] = await up();
      const group = await held(processes);
      await kill(names, processes, group);
    }, 180_000);

  test("after kill -9 of all that would remove it, it goes when the next is made", async () => {
    const [machine, processes] = await up();
    const group = await held(processes);
    await kill(["janitor", "keeper", "vmm"], processes, "/nonexistent");
    expect(existsSync(group)).toBe(true);
    rmSync(machine.runtimeDir, { recursive: true, force: true });
    await machine.gone();
    const [next, others] = await up();
    expect(dirname(await held(others))).toBe(dirname(group));
    expect(existsSync(group)).toBe(false);
    await next.stop();
  }, 240_000);
});
