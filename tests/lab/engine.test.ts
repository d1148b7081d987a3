/** Machines of all shapes on the KVM engine, each started, used and ended by the public interface. */

import { afterEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { type Agent, Capsa, type RunningSandbox, sandbox } from "../../src/index.ts";

const inLab = process.env.CAPSA_LAB !== undefined;
const MIB = 1 << 20;

let vm: RunningSandbox | undefined;

async function boot(cpus: number, memoryMb: number): Promise<Agent> {
  vm = await Capsa.sandbox()
    .cpus(cpus)
    .memoryMb(memoryMb)
    .engine("kvm")
    .confine("require")
    .run("/bin/sleep", ["100000"])
    .build();
  expect(vm.engine).toBe("kvm");
  return sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
}

/** Works for a while, and prints how long and on which processor: proc_pid_stat(5), field 39. */
const WORK = `i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; read -r line </proc/self/stat
set -- $line; shift 38; echo $i $1`;

describe.skipIf(!inLab)("KVM engine", () => {
  afterEach(async () => {
    const { runtimeDir } = vm!;
    await vm!.kill();
    expect(existsSync(runtimeDir)).toBe(false);
  });

  // the smallest, an odd one, and two that go on above the hole below 4 GiB
  for (const memoryMb of [64, 129, 3584, 5120]) {
    test(`${memoryMb} MiB of memory`, async () => {
      await using agent = await boot(1, memoryMb);
      const { stdout } = await agent.exec("grep MemTotal /proc/meminfo; grep 'System RAM' /proc/iomem");
      const total = Number(/MemTotal: +(\d+) kB/.exec(stdout)?.[1]) * 1024;
      expect(total).toBeGreaterThan(memoryMb * MIB * 0.6);
      expect(total).toBeLessThan(memoryMb * MIB);
      const regions = [...stdout.matchAll(/^([0-9a-f]+)-([0-9a-f]+) : System RAM/gm)].map(
        ([, from, to]) => [Number.parseInt(from!, 16), Number.parseInt(to!, 16) + 1] as const,
      );
      const low = Math.min(memoryMb, 3072) * MIB;
      expect(regions.find(([from]) => from === MIB)?.[1]).toBe(low);
      const high = memoryMb * MIB - low;
      const above = regions.filter(([from]) => from >= 2 ** 32);
      expect(above).toEqual(high > 0 ? [[2 ** 32, 2 ** 32 + high]] : []);
    });
  }

  for (const cpus of [2, 4]) {
    test(`${cpus} processors, and all of them work`, async () => {
      await using agent = await boot(cpus, 256);
      const { stdout } = await agent.exec(
        "nproc; grep -c '^processor' /proc/cpuinfo; dmesg | grep -ciE 'lockup|stall|oops|bug:'",
      );
      expect(stdout).toBe(`${cpus}\n${cpus}\n0\n`);
      // each program pinned to a processor of its own
      const pinned = Array.from({ length: cpus }, (_, cpu) =>
        agent.exec(["taskset", (1 << cpu).toString(16), "sh", "-c", WORK]),
      );
      const printed = (await Promise.all(pinned)).map((result) => result.stdout);
      expect(printed).toEqual(Array.from({ length: cpus }, (_, cpu) => `20000 ${cpu}\n`));
    });
  }

  test("paused it says nothing and its clock stands; resumed it goes on", async () => {
    await using agent = await boot(2, 128);
    const child = await agent.spawn("while read -r up _ </proc/uptime; do echo $up; sleep 0.2; done");
    let output = "";
    const reading = (async () => {
      for await (const chunk of child.stdout) output += new TextDecoder().decode(chunk);
    })();
    const last = () => Number(output.trim().split("\n").at(-1));
    const beyond = async (time: number) => {
      while (!(last() > time)) await Bun.sleep(20);
    };
    await beyond(0);
    for (let round = 0; round < 2; round++) {
      await vm!.pause();
      await Bun.sleep(300); // what was under way arrives
      const before = output;
      const time = last();
      await Bun.sleep(3000);
      expect(output).toBe(before);
      await vm!.resume();
      await beyond(time);
      const next = Number(output.slice(before.length).split("\n")[0]);
      expect(next - time).toBeLessThan(2.5);
    }
    await child.kill("SIGKILL");
    await Promise.all([child.exited, reading]);
  });

  test("killed while paused it is gone", async () => {
    await using agent = await boot(2, 128);
    expect(await agent.ping()).toBeGreaterThan(0);
    await vm!.pause();
    expect(await vm!.kill()).toMatchObject({ reason: "stopped" });
  });

  for (const [how, command] of [
    ["powers off", "poweroff -f"],
    ["reboots", "reboot -f"],
  ] as const) {
    test(`a guest that ${how} ends its sandbox`, async () => {
      await using agent = await boot(2, 128);
      agent.exec(command).catch(() => {});
      expect(await vm!.exited).toMatchObject({ reason: "shutdown" });
    });
  }
});
