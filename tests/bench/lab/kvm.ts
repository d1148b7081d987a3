/** What KVM counts for a virtual machine that runs (debugfs), and what its process has in memory (smaps). */
import { dlopen } from "bun:ffi";
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const DEBUGFS = "/sys/kernel/debug/kvm";
const KVM_CREATE_VM = 0xae01;

/**
 * Keep a virtual machine of this process, which never runs, until the process ends. The lab's kernel patches its scheduler
 * when the first machine comes and the last one goes; done a hundred times under emulation, both processors now and
 * then stand still in that for ever.
 */
export function holdMachine(): void {
  const { symbols } = dlopen("libc.so.6", { ioctl: { args: ["i32", "u64", "u64"], returns: "i32" } });
  const kvm = openSync("/dev/kvm", "r+");
  if (symbols.ioctl(kvm, KVM_CREATE_VM, 0) < 0) throw new Error("KVM makes no machine");
  closeSync(kvm);
}

/** The counters of the one virtual machine that runs now, besides the one held. */
export function counters(): Record<string, number> {
  const machines = existsSync(DEBUGFS)
    ? readdirSync(DEBUGFS).filter((name) => /^\d+-\d+$/.test(name) && !name.startsWith(`${process.pid}-`))
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
