/** What names there are in the guest and what they lead to: calls on paths that move no data to or from here. */

import { checkMode, checkOptions, checkOwner, checkPath, checkText } from "../../errors/check.ts";
import { ArgumentError } from "../../errors/errors.ts";
import { type CallSetup, FILE_MS, SHORT_MS } from "../../wire/call.ts";
import { oneOf } from "../../wire/fields.ts";
import { type Message, ProtocolError } from "../../wire/framing.ts";
import type {
  CallOptions,
  ChownOptions,
  CopyOptions,
  FileStat,
  MkdirOptions,
  RemoveOptions,
  StatOptions,
} from "../api.ts";
import type { Connection } from "../connect/connection.ts";
import { readStat } from "./list.ts";

export async function stat(connection: Connection, path: string, options: StatOptions): Promise<FileStat> {
  checkPath(path);
  const request = { op: "stat", path, follow: options.followSymlinks };
  return connection.ask(short("stat", request, path, options), readStat);
}

export async function mkdir(connection: Connection, path: string, options: MkdirOptions): Promise<void> {
  checkPath(path);
  checkMode(options.mode);
  checkOptions("owner", options.owner, ["user", "group"]);
  const { user, group } = options.owner ?? {};
  checkOwner(user, group);
  const request = { op: "mkdir", path, recursive: options.recursive, mode: options.mode, user, group };
  await connection.ask(short("mkdir", request, path, options), () => {});
}

export async function rename(
  connection: Connection,
  from: string,
  to: string,
  options: CallOptions,
): Promise<void> {
  checkPath(from);
  checkPath(to);
  await connection.ask(short("rename", { op: "rename", path: from, to }, from, options), () => {});
}

export async function chmod(
  connection: Connection,
  path: string,
  mode: number,
  options: CallOptions,
): Promise<void> {
  checkPath(path);
  if (mode === undefined) throw new ArgumentError("chmod needs a mode");
  checkMode(mode);
  await connection.ask(short("chmod", { op: "chmod", path, mode }, path, options), () => {});
}

export async function chown(
  connection: Connection,
  path: string,
  owner: { readonly user?: number; readonly group?: number },
  options: ChownOptions,
): Promise<void> {
  const { user, group } = owner;
  checkPath(path);
  checkOwner(user, group);
  const request = { op: "chown", path, user, group, follow: options.followSymlinks };
  await connection.ask(short("chown", request, path, options), () => {});
}

export async function symlink(
  connection: Connection,
  target: string,
  path: string,
  options: CallOptions,
): Promise<void> {
  checkPath(path);
  if (checkText("what a link leads to", target) === "")
    throw new ArgumentError("the target of a link must not be empty");
  await connection.ask(short("symlink", { op: "symlink", path, target }, path, options), () => {});
}

export async function readLink(connection: Connection, path: string, options: CallOptions): Promise<string> {
  checkPath(path);
  return connection.ask(short("readLink", { op: "read_link", path }, path, options), ({ target }) => {
    if (typeof target === "string") return target;
    if (target instanceof Uint8Array) return new TextDecoder().decode(target);
    throw new ProtocolError("a link leads to no path");
  });
}

export async function remove(connection: Connection, path: string, options: RemoveOptions): Promise<void> {
  checkPath(path);
  const request = { op: "remove", path, recursive: options.recursive, force: options.force };
  await connection.ask(long("remove", request, path, options), () => {});
}

export async function copy(
  connection: Connection,
  from: string,
  to: string,
  options: CopyOptions,
): Promise<void> {
  checkPath(from);
  checkPath(to);
  const request = { op: "copy", path: from, to, recursive: options.recursive };
  await connection.ask(long("copy", request, from, options), () => {});
}

/** A call that is answered at once. */
export function short(
  op: string,
  request: Message & { readonly op: string },
  path: string | undefined,
  { signal, timeoutMs = SHORT_MS }: CallOptions,
): CallSetup {
  return { op, path, request, signal, timeoutMs };
}

/** One that takes its time, and says now and then that it is at work. */
export function long(
  op: string,
  request: Message & { readonly op: string },
  path: string,
  { signal, timeoutMs = FILE_MS }: CallOptions,
): CallSetup {
  const onEvent = (event: Message) => void oneOf(event, "ev", ["progress"]);
  return { op, path, request, signal, timeoutMs, cancel: { ev: "abort" }, onEvent };
}
