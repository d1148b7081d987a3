/** Processes of this machine: which one has a number, and what it and its descendants use, from /proc. */

import { readdirSync, readFileSync } from "node:fs";

/** A process that can be told from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot, from /proc; "" where there is no /proc. */
  readonly start: string;
}

/** Who has `pid` now; undefined when nobody has. */
export function identify(pid: number): ProcessIdentity | undefined {
  const fields = stat(pid);
  if (fields[0] === "Z" || fields[0] === "X") return undefined;
  if (fields.length > 1) return { pid, start: fields[19] ?? "" };
  if (process.platform === "linux") return undefined;
  try {
    process.kill(pid, 0);
    return { pid, start: "" };
  } catch {
    return undefined;
  }
}

export function isAlive(who: ProcessIdentity): boolean {
  return identify(who.pid)?.start === who.start;
}

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
  const [user = "0", system = "0", childrenUser = "0", childrenSystem = "0"] = stat(pid).slice(11, 15);
  return [user, system, childrenUser, childrenSystem].reduce(
    (all, ticks) => all + Number(ticks) * TICK_MS,
    0,
  );
}

/** Fields of proc_pid_stat(5), from the state, its third, on; an empty one where there is no such process. */
function stat(pid: number): string[] {
  const line = read(`/proc/${pid}/stat`);
  return line.slice(line.lastIndexOf(")") + 2).split(" ");
}

/** From proc_pid_status(5). */
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
