/** The sandboxes of this user that run now, whoever started them, and the last that ended. */

import { join } from "node:path";
import { guard } from "../errors/edge.ts";
import { SandboxNotFoundError } from "../errors/errors.ts";
import { printableLine } from "../errors/printable.ts";
import { archiveBase, LOG_LIMIT, NETWORK_LOG, SECRETS_LOG } from "../host/directories.ts";
import { readPlainFile } from "../host/files.ts";
import { directoriesIn, readRecord, withRunning } from "../machine/claim.ts";
import type { EndedSandbox, LogEntry, RunningSandbox, SandboxEntry } from "./api.ts";
import { readEventLog } from "./log.ts";
import { type LivingEntry, SandboxHandle } from "./running.ts";

/**
 * Sandboxes that run, oldest first; raw VMs are not among them. What dead ones left behind is removed on the way.
 * @example for (const { name, engine } of await list()) console.log(name, engine);
 */
export async function list(): Promise<SandboxEntry[]> {
  return guard("list", [], async () => (await living()).map(({ start, ...entry }) => entry));
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
