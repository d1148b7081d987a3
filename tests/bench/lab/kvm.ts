/** What KVM counts for a virtual machine that runs (debugfs), and what its process has in memory (smaps). */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const DEBUGFS = "/sys/kernel/debug/kvm";

/** The counters of the one virtual machine that has a vCPU now (the lab holds one without, see tests/lab/inside.sh). */
export function counters(): Record<string, number> {
  const machines = existsSync(DEBUGFS)
    ? readdirSync(DEBUGFS).filter((name) => existsSync(join(DEBUGFS, name, "vcpu0")))
    : [];
  if (machines.length !== 1) throw new Error(`KVM runs ${machines.length} machines, not one`);
  const directory = join(DEBUGFS, machines[0]!);
  const files = readdirSync(directory).filter((name) => !name.startsWith("vcpu"));
  return Object.fromEntries(
    files
      .map((name) => [name, Number(readFileSync(join(directory, name), "utf8"))] as const)
      .filter(([, n]) => n > 0),
  );
}

export interface Resident {
  /** MiB resident that are not the guest's memory. */
  readonly own: number;
  /** MiB of the guest's memory that are resident. */
  readonly guest: number;
}

/** Of a process with a guest of `memoryMb`: its memory is the mapping that is as large, or larger by alignment. */
export function resident(pid: number, memoryMb: number): Resident {
  const mappings = readFileSync(`/proc/${pid}/smaps`, "utf8").matchAll(
    /^[0-9a-f]+-[0-9a-f]+ [\s\S]*?^Size: +(\d+) kB[\s\S]*?^Rss: +(\d+) kB/gm,
  );
  let own = 0;
  let guest = 0;
  for (const [, size, rss] of mappings) {
    if (Number(size) >= (memoryMb - 8) * 1024) guest += Number(rss);
    else own += Number(rss);
  }
  return { own: own / 1024, guest: guest / 1024 };
}

/** `pid` and all that descend from it. */
export function family(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return [pid, ...(children === "" ? [] : children.split(" ").flatMap((child) => family(Number(child))))];
}
