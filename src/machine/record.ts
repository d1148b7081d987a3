/** What the registry keeps of a sandbox: sandbox.json in its runtime directory, and a copy beside its archived logs. */

import { basename, join } from "node:path";
import type { ProcessIdentity } from "../host/directories.ts";
import { readPlainFile } from "../host/plain_file.ts";
import { writeWhole } from "../host/whole_file.ts";
import type { LanMember } from "../network/lan.ts";
import type { PublishedPort } from "../network/spec.ts";
import type { SandboxSpec } from "../spec/spec.ts";

const FILE = "sandbox.json";
const LIMIT = 64 << 20; // bytes

export interface SandboxRecord {
  readonly version: 1;
  readonly id: string;
  readonly name: string;
  readonly engine: "kvm" | "qemu";
  /** Who started it. */
  readonly owner: ProcessIdentity;
  /** Its VMM, once that runs. */
  readonly vmm?: ProcessIdentity;
  /** ISO 8601. */
  readonly created: string;
  readonly detached: boolean;
  readonly archive?: string;
  /** Published ports, once they are known. */
  readonly ports?: readonly PublishedPort[];
  /** Its places on private networks. */
  readonly lans?: readonly LanMember[];
  /** Absent: a raw VM, which is nobody's but its owner's. */
  readonly spec?: SandboxSpec;
}

/** Whole or not at all. Throws when the directory is gone. */
export function writeRecord(directory: string, record: SandboxRecord): void {
  writeWhole(join(directory, FILE), record);
}

/** Undefined when there is none, or none of this version and for this directory. */
export function readRecord(directory: string): SandboxRecord | undefined {
  try {
    const record = JSON.parse(Buffer.from(readPlainFile(join(directory, FILE), LIMIT)).toString());
    return isRecord(record) && record.id === basename(directory) ? record : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: Partial<SandboxRecord> | null): value is SandboxRecord {
  if (value?.version !== 1) return false;
  const { id, name, created, owner, vmm } = value;
  return (
    [id, name, created].every((text) => typeof text === "string") &&
    isIdentity(owner) &&
    (vmm === undefined || isIdentity(vmm))
  );
}

function isIdentity(value: Partial<ProcessIdentity> | undefined): boolean {
  return Number.isInteger(value?.pid) && typeof value?.start === "string";
}
