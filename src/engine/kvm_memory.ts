/** What a probe of KVM found, kept between processes: it takes milliseconds in which nothing else of the process runs. */

import { accessSync, closeSync, constants, openSync, readFileSync, statSync } from "node:fs";
import { release } from "node:os";
import { readSome } from "../host/files.ts";
import { recall, remember } from "../host/remembered.ts";
import type { KvmProbe } from "./library.ts";

const NAME = ".kvm";
/** A machine with much to do looks for a moment as if it emulated. */
const SLOW_MS = 600_000;
/** The first processor's part of /proc/cpuinfo, up to its microcode, bytes. */
const PROCESSOR = 1024;

/** What `probe` found before about that machine, as it is now; else what it finds. */
export function rememberedProbe(probe: () => KvmProbe, about: string | undefined): KvmProbe {
  if (about === undefined) return probe();
  const kept = recall(NAME, about);
  if (isLasting(kept)) return { ...kept, error: undefined };
  const found = probe();
  if (isLasting(found)) remember(NAME, about, found, found.state === "ok" ? undefined : SLOW_MS);
  return found;
}

/** This boot of this machine, its processor and its /dev/kvm; undefined where this process may not open that, or cannot tell. */
export function thisMachine(): string | undefined {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    const { dev, ino, rdev, mode, uid, gid, ctimeMs } = statSync("/dev/kvm");
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1");
    return JSON.stringify([boot, release(), processor(), dev, ino, rdev, mode, uid, gid, ctimeMs]);
  } catch {
    return undefined;
  }
}

/** A machine that was moved to another has its boot still. */
function processor(): unknown {
  const fd = openSync("/proc/cpuinfo", "r");
  try {
    const text = Buffer.from(readSome(fd, PROCESSOR)).toString("latin1");
    return text.match(/^(vendor_id|cpu family|model|model name|stepping|microcode)\t.*$/gm);
  } finally {
    closeSync(fd);
  }
}

/** The other states are found without running a guest, or may pass. */
function isLasting(value: unknown): value is KvmProbe {
  const { state, apiVersion, cpuVirtualization, guestMs, guestLoops } = (value ?? {}) as Partial<KvmProbe>;
  return (
    (state === "ok" || state === "software") &&
    typeof cpuVirtualization === "boolean" &&
    [apiVersion, guestMs, guestLoops].every((number) => Number.isFinite(number) && number! >= 0)
  );
}
