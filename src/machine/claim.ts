/** A place for a sandbox or a raw VM among those of this user that run, taken before its VMM starts. */

import { closeSync, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import type { EngineName } from "../engine/engines.ts";
import { listenForMembers } from "../engine/library.ts";
import { type Notice, SpecError } from "../errors/errors.ts";
import {
  archiveBase,
  clearAway,
  runtimeBase,
  vmmDirectory,
  withLock,
  writingIn,
} from "../host/directories.ts";
import { readPlainFile, writeWhole } from "../host/files.ts";
import { identify, isAlive, type ProcessIdentity } from "../host/process.ts";
import { type Lan, type LanMember, takeLan } from "../network/lan.ts";
import type { PublishedPort } from "../network/spec.ts";
import type { SandboxSpec } from "../spec/spec.ts";

const ARCHIVED = 20;
/** A directory without a record is somebody's who is about to write it, or died before. */
const UNFINISHED_MS = 60_000;

/** Who takes a place: a sandbox, or a raw VM, which has no specification that others could use. */
export interface Subject {
  readonly name: string;
  readonly spec?: SandboxSpec;
}

/** A place in the registry, taken before the VMM starts. */
export interface Place {
  readonly id: string;
  readonly runtimeDir: string;
  readonly archive: string | undefined;
  /** Its places on private networks, with those who were there before. */
  readonly lans: readonly Lan[];
  /** The listening sockets of these, once: they are the caller's then. */
  takeListeners(): number[];
  /** The VMM runs: from now on the place is its. Who it is. */
  started(pid: number): ProcessIdentity;
  /** What it has published. */
  published(ports: readonly PublishedPort[]): void;
  /** Nothing runs: give the place back. */
  release(): void;
}

/** Places that have no VMM yet. Only this process tidies them up, also when it ends in the middle of a start. */
const withoutVmm = new Set<() => void>();
const giveBack = () => {
  for (const release of withoutVmm) release();
};

function releaseAtExit(release: () => void): void {
  if (withoutVmm.size === 0) process.on("exit", giveBack);
  withoutVmm.add(release);
}

function leaveAtExit(release: () => void): void {
  if (withoutVmm.delete(release) && withoutVmm.size === 0) process.off("exit", giveBack);
}

/**
 * Take a place under the subject's name, and on its private networks. Throws {@link SpecError} `NAME_IN_USE`, and `HostError`
 * `RUNTIME_DIR`. `onNotice` is told where the logs of a detached one cannot be kept beyond its end.
 */
export async function claim(
  subject: Subject,
  engine: EngineName,
  detached: boolean,
  onNotice: (notice: Notice) => void = () => {},
): Promise<Place> {
  return withRunning((base, running) => {
    const other = running.find((record) => record.name === subject.name);
    if (other !== undefined) {
      throw new SpecError("name", `a ${other.spec ? "sandbox" : "VM"} "${subject.name}" is running already`, {
        code: "NAME_IN_USE",
        hint: other.spec
          ? `end it with \`capsa down ${subject.name}\`, or choose another name`
          : "choose another",
      });
    }
    const id = freshId(base);
    const runtimeDir = join(base, id);
    let archive = detached ? join(archiveBase(), id) : undefined;
    const listeners: number[] = [];
    const release = () => {
      leaveAtExit(release);
      for (const listener of listeners.splice(0)) closeSync(listener);
      clearAway(runtimeDir);
      if (archive !== undefined) clearAway(archive);
    };
    let record: SandboxRecord;
    let lans: readonly Lan[];
    try {
      writingIn(base, () => {
        mkdirSync(runtimeDir, { mode: 0o700 });
        mkdirSync(vmmDirectory(runtimeDir), { mode: 0o700 });
      });
      lans = joinNetworks(subject, running, runtimeDir, listeners);
      record = {
        version: 1,
        id,
        ...subject,
        engine,
        owner: identify(process.pid) ?? { pid: process.pid, start: "" },
        created: new Date().toISOString(),
        detached,
        ...(lans.length === 0 ? {} : { lans: lans.map(({ self }) => self) }),
      };
      if (archive !== undefined && !makeArchive(archive, record, onNotice)) archive = undefined;
      if (archive !== undefined) record = { ...record, archive };
      writingIn(base, () => writeRecord(runtimeDir, record));
    } catch (error) {
      release();
      throw error;
    }
    const update = (change: Partial<SandboxRecord>) => {
      record = { ...record, ...change };
      try {
        writeRecord(runtimeDir, record);
      } catch {
        // it has ended already, and its directory with it
      }
    };
    releaseAtExit(release);
    return {
      id,
      runtimeDir,
      archive,
      lans,
      takeListeners: () => listeners.splice(0),
      started: (pid) => {
        leaveAtExit(release);
        const vmm = identify(pid) ?? { pid, start: "" };
        update({ vmm });
        return vmm;
      },
      published: (ports) => {
        if (ports.length > 0) update({ ports });
      },
      release,
    };
  });
}

/**
 * A place on each network, and the socket on which those who come later are taken in: bound here, under the lock, so that
 * none of two who start at once is missed. The sockets are added to `listeners`, some even where it throws.
 */
function joinNetworks(
  { spec }: Subject,
  running: readonly SandboxRecord[],
  runtimeDir: string,
  listeners: number[],
): Lan[] {
  const members = running.flatMap(({ lans = [] }) => lans);
  const lans: Lan[] = [];
  for (const network of spec?.networks ?? []) {
    const socket = join(runtimeDir, `lan${lans.length}.sock`);
    const taken = [...members, ...lans.map(({ self }) => self)];
    const lan = takeLan(network, taken, socket);
    listeners.push(listenForMembers(socket));
    lans.push(lan);
  }
  return lans;
}

/**
 * Runs `work`, under the lock, with the records of those that live. The directories of those that do not are removed
 * afterwards: nobody comes to life in one, and who was hostile may have left a great deal in it.
 */
export async function withRunning<T>(work: (base: string, running: SandboxRecord[]) => T): Promise<T> {
  const base = runtimeBase();
  const dead: string[] = [];
  try {
    return await withLock(base, () => {
      const running: SandboxRecord[] = [];
      for (const id of directoriesIn(base)) {
        const directory = join(base, id);
        const record = readRecord(directory);
        const life = record?.vmm ?? record?.owner;
        if (record !== undefined && life !== undefined && isAlive(life)) running.push(record);
        else if (record !== undefined || isOld(directory)) dead.push(directory);
      }
      return work(base, running);
    });
  } finally {
    for (const directory of dead) clearAway(directory);
  }
}

function isOld(directory: string): boolean {
  const status = statSync(directory, { throwIfNoEntry: false });
  return status !== undefined && Date.now() - status.mtimeMs > UNFINISHED_MS;
}

/** Those of sandboxes, by their ids. */
export function directoriesIn(base: string): string[] {
  if (!existsSync(base)) return [];
  return readdirSync(base).filter((name) => /^[0-9a-f]{8}$/.test(name));
}

function freshId(base: string): string {
  const taken = new Set(directoriesIn(base));
  for (;;) {
    const id = crypto.getRandomValues(Buffer.alloc(4)).toString("hex");
    if (!taken.has(id)) return id;
  }
}

/** A directory for the logs, with the record; the oldest of those kept makes room. False where there can be none. */
function makeArchive(archive: string, record: SandboxRecord, onNotice: (notice: Notice) => void): boolean {
  const base = archiveBase();
  try {
    mkdirSync(base, { recursive: true, mode: 0o700 });
    makeRoom(base);
    mkdirSync(archive, { mode: 0o700 });
    writeRecord(archive, { ...record, archive });
    return true;
  } catch (error) {
    clearAway(archive);
    const message = `the logs of ${record.name} will be gone once it has ended: ${(error as Error).message}; XDG_STATE_HOME may name another directory`;
    onNotice({ code: "LOGS_NOT_KEPT", message });
    return false;
  }
}

function makeRoom(base: string): void {
  const kept = directoriesIn(base)
    .map((name) => ({ path: join(base, name), created: readRecord(join(base, name))?.created ?? "" }))
    .sort((one, other) => other.created.localeCompare(one.created));
  for (const { path } of kept.slice(ARCHIVED - 1)) clearAway(path);
}

const FILE = "sandbox.json";
const LIMIT = 64 << 20; // bytes

interface SandboxRecord {
  readonly version: 1;
  readonly id: string;
  readonly name: string;
  readonly engine: EngineName;
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
