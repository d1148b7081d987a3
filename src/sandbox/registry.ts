/** The sandboxes of this user that run now, whoever started them, and the last that ended. */

import { closeSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { listenForMembers } from "../engine/library.ts";
import { SandboxNotFoundError, SpecError } from "../errors.ts";
import { type Lan, takeLan } from "../network/lan.ts";
import type { EndedSandbox, LogEntry, PublishedPort, RunningSandbox, SandboxEntry } from "./api.ts";
import { archiveBase, identify, isAlive, runtimeBase, withLock } from "./directories.ts";
import { readEventLog } from "./log.ts";
import { readRecord, type SandboxRecord, writeRecord } from "./record.ts";
import { SandboxHandle } from "./running.ts";
import type { SandboxSpec } from "./spec.ts";

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
  /** The VMM runs: from now on the place is its. */
  started(pid: number): void;
  /** What it has published. */
  published(ports: readonly PublishedPort[]): void;
  /** Nothing runs: give the place back. */
  release(): void;
}

/** Take a place under the subject's name, and on its private networks. Throws {@link SpecError} `NAME_IN_USE`. */
export async function claim(subject: Subject, engine: "kvm" | "qemu", detached: boolean): Promise<Place> {
  const base = runtimeBase();
  return withLock(base, () => {
    const running = sweep(base);
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
    mkdirSync(runtimeDir, { mode: 0o700 });
    const { lans, listeners } = joinNetworks(subject, running, runtimeDir);
    const archive = detached ? makeArchive(id) : undefined;
    let record: SandboxRecord = {
      version: 1,
      id,
      ...subject,
      engine,
      owner: identify(process.pid) ?? { pid: process.pid, start: "" },
      created: new Date().toISOString(),
      detached,
      ...(archive === undefined ? {} : { archive }),
      ...(lans.length === 0 ? {} : { lans: lans.map(({ self }) => self) }),
    };
    writeRecord(runtimeDir, record);
    if (archive !== undefined) writeRecord(archive, record);
    const update = (change: Partial<SandboxRecord>) => {
      record = { ...record, ...change };
      try {
        writeRecord(runtimeDir, record);
      } catch {
        // it has ended already, and its directory with it
      }
    };
    return {
      id,
      runtimeDir,
      archive,
      lans,
      takeListeners: () => listeners.splice(0),
      started: (pid) => update({ vmm: identify(pid) ?? { pid, start: "" } }),
      published: (ports) => {
        if (ports.length > 0) update({ ports });
      },
      release: () => {
        for (const listener of listeners.splice(0)) closeSync(listener);
        rmSync(runtimeDir, { recursive: true, force: true });
        if (archive !== undefined) rmSync(archive, { recursive: true, force: true });
      },
    };
  });
}

/**
 * A place on each network, and the socket on which those who come later are taken in: bound here, under the lock, so that
 * none of two who start at once is missed. The directory goes when it cannot be.
 */
function joinNetworks({ spec }: Subject, running: readonly SandboxRecord[], runtimeDir: string) {
  const members = running.flatMap(({ lans = [] }) => lans);
  const lans: Lan[] = [];
  const listeners: number[] = [];
  try {
    for (const network of spec?.networks ?? []) {
      const socket = join(runtimeDir, `lan${lans.length}.sock`);
      const taken = [...members, ...lans.map(({ self }) => self)];
      const lan = takeLan(network, taken, socket);
      listeners.push(listenForMembers(socket));
      lans.push(lan);
    }
  } catch (error) {
    for (const listener of listeners) closeSync(listener);
    rmSync(runtimeDir, { recursive: true, force: true });
    throw error;
  }
  return { lans, listeners };
}

/**
 * Sandboxes that run, oldest first; raw VMs are not among them. What dead ones left behind is removed on the way.
 * @example for (const { name, engine } of await list()) console.log(name, engine);
 */
export async function list(): Promise<SandboxEntry[]> {
  const base = runtimeBase();
  const records = await withLock(base, () => sweep(base));
  return records
    .sort((one, other) => one.created.localeCompare(other.created))
    .flatMap(({ id, name, engine, vmm, created, detached, ports = [], spec }) =>
      vmm === undefined || spec === undefined
        ? []
        : [
            {
              id,
              name,
              engine,
              pid: vmm.pid,
              created: new Date(created),
              runtimeDir: join(base, id),
              detached,
              ports,
              spec,
            },
          ],
    );
}

/**
 * Detached sandboxes that ended, newest first; the last 20 are kept.
 * @example const [latest] = await ended();
 */
export async function ended(): Promise<EndedSandbox[]> {
  const running = new Set((await list()).map((entry) => entry.id));
  const found: EndedSandbox[] = [];
  for (const id of directoriesIn(archiveBase())) {
    const record = running.has(id) ? undefined : readRecord(join(archiveBase(), id));
    if (record?.spec === undefined) continue;
    const { exit } = await readEventLog(join(archiveBase(), id));
    found.push({ id, name: record.name, created: new Date(record.created), spec: record.spec, exit });
  }
  return found.sort((one, other) => other.created.getTime() - one.created.getTime());
}

/**
 * Connect to a running sandbox by name or id. Throws {@link SandboxNotFoundError}.
 * @example await using vm = await attach("web");
 */
export async function attach(nameOrId: string): Promise<RunningSandbox> {
  return SandboxHandle.attach(await find(nameOrId));
}

/** The running sandbox of that name or id. Throws {@link SandboxNotFoundError}. */
export async function find(nameOrId: string): Promise<SandboxEntry> {
  const running = await list();
  const entry = running.find(({ id, name }) => id === nameOrId || name === nameOrId);
  if (entry === undefined) throw notFound(nameOrId, running);
  return entry;
}

/**
 * What the main process of a running or ended sandbox has written, as far as it is kept. Throws
 * {@link SandboxNotFoundError}.
 * @example for (const { data } of await readLog("web")) process.stdout.write(data);
 */
export async function readLog(nameOrId: string): Promise<LogEntry[]> {
  return (await readEventLog(await logDirectory(nameOrId))).output;
}

/**
 * What the network of a running or ended sandbox has refused, a line each, as far as it is kept; "" for one without a
 * network; what the proxy of its secrets has refused is among them. Throws {@link SandboxNotFoundError}.
 * @example process.stdout.write(await readNetworkLog("web"));
 */
export async function readNetworkLog(nameOrId: string): Promise<string> {
  const directory = await logDirectory(nameOrId);
  const texts = await Promise.all(
    ["network.log", "secrets.log"].map(async (name) => {
      const file = Bun.file(join(directory, name));
      return (await file.exists()) ? await file.text() : "";
    }),
  );
  const lines = texts.flatMap((text) => text.split(/(?<=\n)/));
  const when = (line: string) => Date.parse(line.slice(0, line.indexOf(" ")));
  return lines.sort((one, other) => when(one) - when(other)).join("");
}

/** Where the logs are of the one that runs, or else of the last that ended. */
async function logDirectory(nameOrId: string): Promise<string> {
  const running = await list();
  const entry = running.find(({ id, name }) => id === nameOrId || name === nameOrId);
  if (entry !== undefined) return entry.runtimeDir;
  const past = (await ended()).find(({ id, name }) => id === nameOrId || name === nameOrId);
  if (past === undefined) throw notFound(nameOrId, running);
  return join(archiveBase(), past.id);
}

function notFound(nameOrId: string, running: readonly SandboxEntry[]): SandboxNotFoundError {
  return new SandboxNotFoundError(
    nameOrId,
    running.map(({ name }) => name),
  );
}

/** The records of those that live; the directories of those that do not are removed. Under the lock. */
function sweep(base: string): SandboxRecord[] {
  const living: SandboxRecord[] = [];
  for (const id of directoriesIn(base)) {
    const directory = join(base, id);
    const record = readRecord(directory);
    const life = record?.vmm ?? record?.owner;
    if (record !== undefined && life !== undefined && isAlive(life)) living.push(record);
    else if (record !== undefined || isOld(directory)) rmSync(directory, { recursive: true, force: true });
  }
  return living;
}

function isOld(directory: string): boolean {
  const status = statSync(directory, { throwIfNoEntry: false });
  return status !== undefined && Date.now() - status.mtimeMs > UNFINISHED_MS;
}

function directoriesIn(base: string): string[] {
  return readdirSync(base).filter((name) => /^[0-9a-f]{8}$/.test(name));
}

function freshId(base: string): string {
  const taken = new Set(directoriesIn(base));
  for (;;) {
    const id = crypto.getRandomValues(Buffer.alloc(4)).toString("hex");
    if (!taken.has(id)) return id;
  }
}

/** A directory for the logs, the oldest of those kept makes room. */
function makeArchive(id: string): string {
  const base = archiveBase();
  const kept = directoriesIn(base)
    .map((name) => ({ path: join(base, name), created: readRecord(join(base, name))?.created ?? "" }))
    .sort((one, other) => other.created.localeCompare(one.created));
  for (const { path } of kept.slice(ARCHIVED - 1)) rmSync(path, { recursive: true, force: true });
  const archive = join(base, id);
  mkdirSync(archive, { mode: 0o700 });
  return archive;
}
