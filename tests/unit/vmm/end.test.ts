/** Whichever process of a sandbox dies first, and however: the others are gone within two seconds, and so is the rest. */

import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  alive,
  Channel,
  childrenOf,
  commandOf,
  Machine,
  type Processes,
  scratch,
  untilGone,
} from "./machine.ts";

const LIMIT_MS = 2000;

let left: number[] = [];
afterEach(() => {
  for (const pid of left) if (alive(pid)) process.kill(pid, "SIGKILL");
  left = [];
});

async function up(change = {}): Promise<[Machine, Processes]> {
  const machine = await Machine.start(change);
  await machine.ready();
  const processes = await machine.processes();
  left.push(...Object.values(processes));
  return [machine, processes];
}

/** One after the other, at once: the second may be gone by its turn. */
function killAll(...pids: number[]): void {
  for (const pid of pids) if (alive(pid)) process.kill(pid, "SIGKILL");
}

describe("kill -9", () => {
  test("of QEMU", async () => {
    const [machine, processes] = await up();
    process.kill(processes.qemu, "SIGKILL");
    await untilGone(Object.values(processes), machine.runtimeDir, LIMIT_MS);
    const last = await machine.gone();
    expect(await machine.event("failed")).toMatchObject({
      code: "ENGINE_FAILED",
      message: expect.stringMatching(/ended by signal 9/),
    });
    expect(last).toEqual({ event: "exited", reason: "failed" });
  });

  test("of the VMM", async () => {
    const [machine, processes] = await up();
    process.kill(processes.vmm, "SIGKILL");
    await untilGone(Object.values(processes), machine.runtimeDir, LIMIT_MS);
    const last = await machine.gone();
    expect(await machine.event("failed")).toMatchObject({
      code: "VMM_DIED",
      message: expect.stringMatching(/SIGKILL/),
    });
    expect(last).toEqual({ event: "exited", reason: "failed" });
  });

  test("of the keeper", async () => {
    const [machine, processes] = await up();
    process.kill(processes.keeper, "SIGKILL");
    await untilGone(Object.values(processes), machine.runtimeDir, LIMIT_MS);
    expect(await machine.gone()).toEqual({ event: "exited", reason: "failed" });
  });

  test("of keeper and VMM together", async () => {
    const [machine, processes] = await up();
    killAll(processes.keeper, processes.vmm);
    await untilGone(Object.values(processes), machine.runtimeDir, LIMIT_MS);
  });

  test("of the janitor: the sandbox goes on, and ends as always", async () => {
    const [machine, processes] = await up();
    process.kill(processes.janitor, "SIGKILL");
    expect(await machine.agent({ id: 1, op: "ping" })).toMatchObject({ ok: true });
    await machine.stop();
  });

  test("of keeper and QEMU together", async () => {
    const [machine, processes] = await up();
    killAll(processes.keeper, processes.qemu);
    await untilGone(Object.values(processes), machine.runtimeDir, LIMIT_MS);
  });

  test("of a stopped VMM's starter", async () => {
    const [machine, processes] = await up();
    process.kill(processes.vmm, "SIGSTOP");
    machine.close();
    await untilGone(Object.values(processes), machine.runtimeDir, LIMIT_MS + 500);
  });

  test("of the starter, attached", async () => {
    const { starter, runtimeDir, processes } = await startElsewhere("attached");
    starter.kill("SIGKILL");
    await untilGone([starter.pid, ...Object.values(processes)], runtimeDir, LIMIT_MS);
  });

  test("of the starter, detached: the sandbox lives, and is stopped through its socket", async () => {
    const { starter, runtimeDir, processes } = await startElsewhere("detached");
    starter.kill("SIGKILL");
    await starter.exited;
    await Bun.sleep(1700); // past the keeper's patience with a sandbox that should end
    for (const pid of Object.values(processes)) expect(alive(pid)).toBe(true);
    const channel = await Channel.to(join(runtimeDir, "control.sock"));
    expect(await channel.request("stop")).not.toHaveProperty("error");
    await untilGone(Object.values(processes), runtimeDir, LIMIT_MS);
  });
});

async function startElsewhere(mode: "attached" | "detached") {
  const starter = Bun.spawn([process.execPath, join(import.meta.dir, "starter.ts"), mode], {
    stdout: "pipe",
  });
  const reader = starter.stdout.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the starter ended: ${text}`);
    text += new TextDecoder().decode(value);
  }
  reader.releaseLock();
  const said = JSON.parse(text) as { runtimeDir: string; processes: Processes };
  left.push(starter.pid, ...Object.values(said.processes));
  return { starter, ...said };
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  for (const target of ["keeper", "vmm"] as const) {
    test(`${signal} to the ${target} is a power cut`, async () => {
      const [machine, processes] = await up();
      process.kill(processes[target], signal);
      await untilGone(Object.values(processes), machine.runtimeDir, LIMIT_MS);
      expect(await machine.gone()).toEqual({ event: "exited", reason: "stopped" });
    });
  }
}

test("the starter closes its channel", async () => {
  const [machine, processes] = await up();
  machine.close();
  await untilGone(Object.values(processes), machine.runtimeDir, LIMIT_MS);
});

test("the starter is gone before the machine is made", async () => {
  const machine = await Machine.start();
  machine.close();
  await untilGone([machine.pid], machine.runtimeDir, LIMIT_MS);
});

test("SIGTERM to QEMU is a failure, not a shutdown", async () => {
  const [machine, processes] = await up();
  process.kill(processes.qemu, "SIGTERM");
  expect(await machine.event("exited")).toMatchObject({ reason: "failed" });
  await machine.gone();
});

test("what lies in the runtime directory goes, what its links point to stays", async () => {
  using outside = scratch();
  writeFileSync(join(outside.path, "kept"), "");
  const [machine] = await up();
  mkdirSync(join(machine.runtimeDir, "deep/deeper"), { recursive: true });
  writeFileSync(join(machine.runtimeDir, "deep/deeper/file"), "");
  symlinkSync(outside.path, join(machine.runtimeDir, "deep/link"));
  await machine.stop();
  expect(existsSync(join(outside.path, "kept"))).toBe(true);
});

test("logs are archived when the VMM is killed, too", async () => {
  using archive = scratch();
  const [machine, processes] = await up({ archive: archive.path });
  process.kill(processes.vmm, "SIGKILL");
  await machine.gone();
  expect(existsSync(join(archive.path, "events.log"))).toBe(true);
});

test("any process may be killed at any moment of the start", async () => {
  for (let round = 0; round < 24; round++) {
    const machine = await Machine.start();
    await Bun.sleep((round * 37) % 500);
    let family = descendants(machine.pid);
    // until the first process has split, the starter is the only other one
    while (family.length < 3) family = descendants(machine.pid);
    left.push(...family);
    const victim = family[round % family.length]!;
    const harmless = alive(victim) && commandOf(victim) === "capsa-janitor";
    killAll(victim);
    if (harmless || round % 3 === 0) machine.close();
    await untilGone(family, machine.runtimeDir, LIMIT_MS);
    await machine.gone();
  }
}, 60_000);

/** The process and all that come from it, as they are now. */
function descendants(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(descendants)];
}
