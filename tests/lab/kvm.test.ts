/** What only a machine with a true /dev/kvm shows: the KVM engine, its VMM's confinement, and the C tests on hardware. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { probeKvm } from "../../src/engine/library.ts";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";
import { Control } from "../../src/wire/control.ts";

const root = join(import.meta.dir, "../..");
const inLab = process.env.CAPSA_LAB !== undefined;

/** Fields of /proc/PID/status. */
function statusOf(path: string): Record<string, string> {
  const lines = readFileSync(join(path, "status"), "utf8").split("\n");
  return Object.fromEntries(lines.map((line) => line.split(/:\s*/, 2) as [string, string]));
}

describe.skipIf(!inLab)("lab", () => {
  let share: string;
  let vm: RunningSandbox;
  let agent: Agent;
  let confinement: Record<string, { applied: boolean; detail: string }>;
  /** The confined process: `vm.pid` is the one that looks after it. */
  let pid: number;

  beforeAll(async () => {
    share = mkdtempSync(join(tmpdir(), "capsa-lab-"));
    vm = await Capsa.sandbox()
      .name("lab")
      .cpus(2)
      .memoryMb(256)
      .confine("require")
      .share(share, "/share", MountMode.ReadWrite)
      .run("/bin/sleep", ["100000"])
      .build();
    agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
    const control = await Control.open({ unix: join(vm.runtimeDir, "control.sock") });
    const status = await control.request("status");
    control.close();
    confinement = (status.confinement as Record<string, typeof confinement>)["capsa-vmm"]!;
    pid = (status.pids as { vmm: number }).vmm;
  });

  afterAll(async () => {
    await agent?.close();
    await vm?.kill();
    rmSync(share, { recursive: true });
  });

  test("the probe takes it for what it is, and the sandbox runs on it", () => {
    expect(probeKvm(50).state).toBe("ok");
    expect(vm.engine).toBe("kvm");
  });

  test("a guest with two processors, by KVM's clock, says so", async () => {
    const { stdout } = await agent.exec(
      "nproc; cat /sys/devices/system/clocksource/clocksource0/current_clocksource; grep -c hypervisor /proc/cpuinfo",
    );
    expect(stdout).toBe("2\nkvm-clock\n2\n");
  });

  test("two sandboxes run at once", async () => {
    await using other = await Capsa.sandbox().memoryMb(128).run("/bin/sleep", ["1000"]).build();
    await using second = await sandbox.waitReady(other.vsockSocket(sandbox.agentPort()));
    const [here, there] = await Promise.all([agent.exec("echo here"), second.exec("echo there")]);
    expect([here.stdout, there.stdout]).toEqual(["here\n", "there\n"]);
  });

  test("every layer of confinement is applied, and told", () => {
    const layers = Object.entries(confinement);
    expect(layers.map(([name]) => name).sort()).toEqual(
      ["capabilities", "files", "limits", "namespaces", "privileges", "syscalls"].sort(),
    );
    expect(layers.filter(([, { applied }]) => !applied)).toEqual([]);
  });

  test("the VMM's process has no privileges, no network and no files but its own", () => {
    const proc = `/proc/${pid}`;
    const status = statusOf(proc);
    expect(status).toMatchObject({ NoNewPrivs: "1", Seccomp: "2" });
    // CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID: those over the share's files
    expect(Number.parseInt(status.CapEff ?? "", 16)).toBe(0b11011);
    expect(status.CapBnd).toBe(status.CapEff);
    for (const space of ["net", "mnt", "ipc", "uts"]) {
      expect(readlinkSync(`${proc}/ns/${space}`)).not.toBe(readlinkSync(`/proc/self/ns/${space}`));
    }
    const [top] = vm.runtimeDir.split("/").filter(Boolean);
    expect(readdirSync(`${proc}/root`)).toEqual([top ?? ""]);
    expect(readdirSync(`${proc}/root${vm.runtimeDir}`)).toEqual(["vmm"]);
    expect(existsSync(`${proc}/root${vm.runtimeDir}/vmm/52.sock`)).toBe(true);
    expect(existsSync(`${proc}/root${share}`)).toBe(false);
  });

  test("each thread has a list of its own: two vCPUs among them", () => {
    const tasks = readdirSync(`/proc/${pid}/task`).map((id) => statusOf(`/proc/${pid}/task/${id}`));
    const filters = tasks.map((task) => Number(task.Seccomp_filters));
    expect(filters.every((count) => count === 2)).toBe(true); // the process's, and its own
    expect(filters.length).toBeGreaterThanOrEqual(2);
  });

  for (const name of ["kvm", "kvm_probe", "confine", "cgroup"]) {
    test(`C: ${name}`, async () => {
      const run = Bun.spawn([join(root, "build/check", name)], {
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      });
      const [code, stdout, stderr] = await Promise.all([run.exited, run.stdout.text(), run.stderr.text()]);
      if (code !== 0) throw new Error(`${name} ended with exit code ${code}\n${stdout}${stderr}`);
      expect(stdout).toMatch(/^1\.\.[1-9]\d*$/m);
      if (name === "cgroup") expect(stdout).not.toContain("# SKIP"); // the lab has cgroups
    });
  }
});
