/** Processes in the background: they go on without the connection that started them. */

import { checkWhole } from "../../errors/check.ts";
import { ArgumentError } from "../../errors/errors.ts";
import { SHORT_MS } from "../../wire/call.ts";
import { finite, flag, list, map, uint } from "../../wire/fields.ts";
import { type Message, ProtocolError } from "../../wire/framing.ts";
import type {
  AttachedProcess,
  AttachOptions,
  BackgroundProcess,
  CallOptions,
  DetachOptions,
  ProcessEntry,
} from "../api.ts";
import type { Connection } from "../connect/connection.ts";
import { AttachedRunning, checkWindow, exitStatus, programRequest } from "./program.ts";

const MAX_PID = 0x7fffffff;
/** Latest time a `Date` can tell, milliseconds. */
const MAX_TIME = 8.64e15;

export async function detach(
  connection: Connection,
  command: string | readonly string[],
  options: DetachOptions,
): Promise<BackgroundProcess> {
  if (options.stdin !== undefined && options.stdin !== "pipe") {
    throw new ArgumentError('stdin of a detached process must be "pipe" or left out');
  }
  const { request } = programRequest(command, options);
  const { signal } = options;
  const setup = { op: "exec", path: request.argv[0], request, signal, timeoutMs: SHORT_MS };
  return connection.ask(setup, backgroundProcess);
}

export async function attach(
  connection: Connection,
  id: number,
  options: AttachOptions,
): Promise<AttachedProcess> {
  if (!Number.isSafeInteger(id) || id < 1)
    throw new ArgumentError(`the number of a process must be at least 1, not ${id}`);
  checkWhole("replay", options.replay, 0, 0xffffffff);
  const child = new AttachedRunning(id);
  const call = connection.call({
    op: "attach",
    path: String(id),
    request: { op: "attach", process: id, replay: options.replay },
    window: checkWindow(options.window),
    cancel: { ev: "detach" },
    signal: options.signal,
    onEvent: child.onEvent,
  });
  child.watch(call, connection);
  await child.started(connection, String(id));
  return child;
}

export async function processes(connection: Connection, options: CallOptions): Promise<ProcessEntry[]> {
  const { signal, timeoutMs = SHORT_MS } = options;
  const setup = { op: "processes", request: { op: "processes" }, signal, timeoutMs };
  return connection.ask(setup, (response) =>
    list(response, "processes").map((entry) => processEntry(map(entry, "a process"))),
  );
}

function backgroundProcess(told: Message): BackgroundProcess {
  return { id: uint(told, "process"), pid: uint(told, "pid", MAX_PID) };
}

function processEntry(told: Message): ProcessEntry {
  const started = finite(told, "startedMs");
  if (Math.abs(started) > MAX_TIME) throw new ProtocolError("a process's start is out of range");
  return {
    ...backgroundProcess(told),
    argv: list(told, "argv").map(argument),
    started: new Date(started),
    status: flag(told, "running") ? null : exitStatus(told),
  };
}

function argument(told: unknown): string {
  if (typeof told === "string") return told;
  if (told instanceof Uint8Array) return new TextDecoder().decode(told);
  throw new ProtocolError("an argument of a process is no string");
}
