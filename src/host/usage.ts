/** What a process and its descendants use of this machine, from /proc (proc_pid_stat(5), proc_pid_status(5)). */

import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks of /proc in a millisecond: USER_HZ is 100 wherever there is an engine. */
const TICK_MS = 10;

export interface Usage {
  /** Processor time, milliseconds. */
  readonly cpuMs: number;
  /** Memory that is there, bytes; what several of them share counts once. */
  readonly residentBytes: number;
}

/** Of those that are there. */
export function processUsage(pid: number): Usage {
  const parts = family(pid).map((member) => ({ cpuMs: cpuMs(member), ...memory(member) }));
  const sum = (of: (part: (typeof parts)[number]) => number) =>
    parts.reduce((all, part) => all + of(part), 0);
  // guest memory is one object, mapped by each that has to do with it
  const shared = Math.max(0, ...parts.map((part) => part.shared));
  return { cpuMs: sum((part) => part.cpuMs), residentBytes: sum((part) => part.own) + shared };
}

function family(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(family)];
}

function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      (read(`/proc/${pid}/task/${thread}/children`).match(/\d+/g) ?? []).map(Number),
    );
  } catch {
    return [];
  }
}

/** Its own, and of the children that it has seen end. */
function cpuMs(pid: number): number {
  const line = read(`/proc/${pid}/stat`);
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" "); // from the state, field 3, on
  const [user = "0", system = "0", childrenUser = "0", childrenSystem = "0"] = fields.slice(11, 15);
  return [user, system, childrenUser, childrenSystem].reduce(
    (all, ticks) => all + Number(ticks) * TICK_MS,
    0,
  );
}

function memory(pid: number): { own: number; shared: number } {
  const status = read(`/proc/${pid}/status`);
  const bytes = (key: string) =>
    Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0) * 1024;
  return { own: bytes("RssAnon") + bytes("RssFile"), shared: bytes("RssShmem") };
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // it has just ended
  }
}
