/** The sandboxes of this user that run now, whoever started them, and the last that ended. */

import { closeSync, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { listenForMembers } from "../engine/library.ts";
import { guard } from "../errors/edge.ts";
import { SandboxNotFoundError, SpecError } from "../errors/errors.ts";
import { printableLine } from "../errors/printable.ts";
import {
  archiveBase,
  clearAway,
  identify,
  isAlive,
  type ProcessIdentity,
  runtimeBase,
  withLock,
  writingIn,
} from "../host/directories.ts";
import { readPlainFile } from "../host/plain_file.ts";
import { LOG_LIMIT, NETWORK_LOG, SECRETS_LOG, vmmDirectory } from "../host/runtime_dir.ts";
import { readRecord, type SandboxRecord, writeRecord } from "../machine/record.ts";
import { type Lan, takeLan } from "../network/lan.ts";
import type { SandboxSpec } from "../spec/spec.ts";
import type { EndedSandbox, LogEntry, Notice, PublishedPort, RunningSandbox, SandboxEntry } from "./api.ts";
import { readEventLog } from "./log.ts";
import { SandboxHandle } from "./running.ts";

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

/**
 * Take a place under the subject's name, and on its private networks. Throws {@link SpecError} `NAME_IN_USE`, and `HostError`
 * `RUNTIME_DIR`. `onNotice` is told where the logs of a detached one cannot be kept beyond its end.
 */
export async function claim(
  subject: Subject,
  engine: "kvm" | "qemu",
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
    return {
      id,
      runtimeDir,
      archive,
      lans,
      takeListeners: () => listeners.splice(0),
      started: (pid) => {
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
 * Sandboxes that run, oldest first; raw VMs are not among them. What dead ones left behind is removed on the way.
 * @example for (const { name, engine } of await list()) console.log(name, engine);
 */
export async function list(): Promise<SandboxEntry[]> {
  return guard("list", [], async () => (await living()).map(({ start, ...entry }) => entry));
}

/** Of a sandbox that runs, and since when its VMM does, see `ProcessIdentity`. */
export interface LivingEntry extends SandboxEntry {
  readonly start: string;
}

function living(): Promise<LivingEntry[]> {
  return withRunning((base, records) =>
    records
      .sort((one, other) => one.created.localeCompare(other.created))
      .flatMap(({ id, name, engine, vmm, created, detached, ports = [], spec }) =>
        vmm === undefined || spec === undefined
          ? []
          : [
              {
                id,
                name,
                engine,
                ...vmm,
                created: new Date(created),
                runtimeDir: join(base, id),
                detached,
                ports,
                spec,
              },
            ],
      ),
  );
}

/**
 * Detached sandboxes that ended, newest first; the last 20 are kept.
 * @example const [latest] = await ended();
 */
export async function ended(): Promise<EndedSandbox[]> {
  return guard("ended", [], archived);
}

async function archived(): Promise<EndedSandbox[]> {
  const running = new Set((await list()).map((entry) => entry.id));
  const found: EndedSandbox[] = [];
  for (const id of directoriesIn(archiveBase())) {
    const record = running.has(id) ? undefined : readRecord(join(archiveBase(), id));
    if (record?.spec === undefined) continue;
    const { exit } = readEventLog(join(archiveBase(), id));
    found.push({ id, name: record.name, created: new Date(record.created), spec: record.spec, exit });
  }
  return found.sort((one, other) => other.created.getTime() - one.created.getTime());
}

/**
 * Connect to a running sandbox by name or id. Throws {@link SandboxNotFoundError}.
 * @example await using vm = await attach("web");
 */
export async function attach(nameOrId: string): Promise<RunningSandbox> {
  return guard("attach", [], async () => SandboxHandle.attach(await find(nameOrId)));
}

/** The running sandbox of that name or id. Throws {@link SandboxNotFoundError}. */
export async function find(nameOrId: string): Promise<LivingEntry> {
  const running = await living();
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
  return guard("readLog", [], async () => readEventLog(await logDirectory(nameOrId)).output);
}

/**
 * What the network of a running or ended sandbox has refused, a line each, as far as it is kept; "" for one without a
 * network; what the proxy of its secrets has refused is among them. Throws {@link SandboxNotFoundError}.
 * @example process.stdout.write(await readNetworkLog("web"));
 */
export async function readNetworkLog(nameOrId: string): Promise<string> {
  return guard("readNetworkLog", [], async () => networkLog(await logDirectory(nameOrId)));
}

function networkLog(directory: string): string {
  const lines = [NETWORK_LOG, SECRETS_LOG].flatMap((name) =>
    linesOf(readPlainFile(join(directory, name), LOG_LIMIT)),
  );
  const when = (line: string) => line.slice(0, line.indexOf(" "));
  return lines
    .sort((one, other) => (when(one) < when(other) ? -1 : when(one) > when(other) ? 1 : 0))
    .map((line) => `${line}\n`)
    .join("");
}

/** Those that begin with a time, as all do that a VMM or a proxy has written, free of what a terminal would obey. */
function linesOf(log: Uint8Array): string[] {
  const lines = new TextDecoder().decode(log).split("\n");
  return lines.filter((line) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /.test(line)).map(printableLine);
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

/**
 * Runs `work`, under the lock, with the records of those that live. The directories of those that do not are removed
 * afterwards: nobody comes to life in one, and who was hostile may have left a great deal in it.
 */
async function withRunning<T>(work: (base: string, running: SandboxRecord[]) => T): Promise<T> {
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

function directoriesIn(base: string): string[] {
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
