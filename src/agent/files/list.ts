/** What the guest tells of files: an entry of a directory, a directory as a list, and paths that match a pattern. */

import { checkPath, checkText, checkWhole } from "../../errors/check.ts";
import { AgentError, ArgumentError } from "../../errors/errors.ts";
import { FILE_MS } from "../../wire/call.ts";
import { finite, list, map, oneOf, uint } from "../../wire/fields.ts";
import { type Message, ProtocolError } from "../../wire/framing.ts";
import { own } from "../../wire/streams.ts";
import type { DirEntry, FileStat, GlobOptions, ListDirOptions } from "../api.ts";
import type { Connection } from "../connect/connection.ts";

/** Bytes that the guest tells. */
const MAX_LIST = 16 << 20;

export async function listDir(
  connection: Connection,
  path: string,
  options: ListDirOptions,
): Promise<DirEntry[]> {
  const { recursive = false, maxBytes = MAX_LIST, signal, timeoutMs = FILE_MS } = options;
  checkPath(path);
  checkWhole("maxBytes", maxBytes);
  const read = recursive ? readFound : readEntry;
  const entries: DirEntry[] = [];
  let total = 0;
  const call = connection.call({
    op: "listDir",
    path,
    request: recursive ? { op: "list_tree", path, status: true } : { op: "list_dir", path },
    cancel: { ev: "abort" },
    signal,
    timeoutMs,
    onEvent: (event, length) => {
      oneOf(event, "ev", ["entries"]);
      total += length;
      call.taken(length);
      if (total > maxBytes) call.abandon(tooLong("listDir", path, maxBytes));
      else for (const entry of list(event, "entries")) entries.push(read(map(entry, "an entry")));
    },
  });
  await call.response;
  return entries;
}

export function tooLong(op: "listDir" | "glob", path: string, limit: number): AgentError {
  return new AgentError("OUTPUT_TOO_LARGE", `${op} ${path}: the list is longer than ${limit} bytes`, {
    op,
    path,
    hint: "raise maxBytes, or select entries in the guest with ls or find",
  });
}

const TYPES = ["file", "dir", "symlink", "fifo", "socket", "char", "block"] as const;
const MAX_NAME = 255; // NAME_MAX, bytes
const MAX_TIME = 8.64e15; // of a Date, milliseconds

/** Throws {@link ProtocolError} on anything a directory cannot hold: a name with a slash would reach elsewhere. */
function readEntry(entry: Message): DirEntry {
  const raw = entry.name;
  if (typeof raw !== "string" && !(raw instanceof Uint8Array))
    throw new ProtocolError("an entry has no name");
  const name = typeof raw === "string" ? raw : new TextDecoder().decode(raw);
  const size = typeof raw === "string" ? Buffer.byteLength(raw) : raw.length;
  if (size === 0 || size > MAX_NAME || name === "." || name === ".." || /[/\0]/.test(name)) {
    throw new ProtocolError("an entry's name cannot be one");
  }
  return {
    name,
    ...(typeof raw === "string" ? {} : { nameBytes: own(raw) }),
    ...common(entry),
  };
}

function readFound(entry: Message): DirEntry {
  const raw = entry.path;
  return {
    name: relativePath(raw),
    ...(raw instanceof Uint8Array ? { nameBytes: own(raw) } : {}),
    ...common(entry),
  };
}

/**
 * A path below a directory; where it is not UTF-8 the bad bytes show as U+FFFD. Throws {@link ProtocolError} for one that
 * would lead elsewhere.
 */
export function relativePath(told: unknown): string {
  const path = told instanceof Uint8Array ? new TextDecoder().decode(told) : told;
  if (
    typeof path !== "string" ||
    /\0/.test(path) ||
    path.split("/").some((name) => ["", ".", ".."].includes(name))
  )
    throw new ProtocolError("a path below a directory cannot be one");
  return path;
}

/** Throws {@link ProtocolError} on what no file can be. */
export function readStat(told: Message): FileStat {
  return {
    ...common(told),
    user: uint(told, "user", 0xffffffff),
    group: uint(told, "group", 0xffffffff),
    links: uint(told, "links"),
    atime: time(told, "atimeMs"),
    ctime: time(told, "ctimeMs"),
  };
}

function common(told: Message): Pick<DirEntry, "type" | "size" | "mode" | "mtime"> {
  return {
    type: oneOf(told, "type", TYPES),
    size: uint(told, "size"),
    mode: uint(told, "mode", 0o7777),
    mtime: time(told, "mtimeMs"),
  };
}

function time(told: Message, key: string): Date {
  const ms = finite(told, key);
  if (Math.abs(ms) > MAX_TIME) throw new ProtocolError("a file's time is out of range");
  return new Date(ms);
}

const MAGIC = /[*?[\]{}!\\]/;
/** What a match counts for beside its name. */
const MATCH = 64;

/** A pattern cut where its first wildcard is. */
interface Pattern {
  /** Directory to look through, "" for `cwd` itself, with its slash else. */
  readonly base: string;
  /** What is to match below it. */
  readonly rest: string;
  /** Directories below it that the rest can reach; undefined: any. */
  readonly depth: number | undefined;
}

function parsePattern(pattern: string): Pattern {
  const segments = pattern.split("/");
  const found = segments.findIndex((segment) => MAGIC.test(segment));
  const first = found === -1 ? segments.length - 1 : found;
  const base = segments.slice(0, first).join("/");
  const rest = segments.slice(first).join("/");
  const anyDepth = rest.includes("**") || /\{[^}]*\//.test(rest);
  return {
    base: first === 0 ? "" : `${base}/`,
    rest,
    depth: anyDepth ? undefined : segments.length - 1 - first,
  };
}

export async function glob(connection: Connection, pattern: string, options: GlobOptions): Promise<string[]> {
  const { cwd = "/", dot = false, maxBytes = MAX_LIST, signal, timeoutMs = FILE_MS } = options;
  checkPath(cwd);
  checkWhole("maxBytes", maxBytes);
  if (checkText("a pattern", pattern) === "") throw new ArgumentError("a pattern must not be empty");
  const { base, rest, depth } = parsePattern(pattern);
  const matcher = new Bun.Glob(rest);
  const hidden = dot || rest.startsWith(".") || rest.includes("/.");
  const matches: string[] = [];
  let total = 0;
  const path = base.startsWith("/") ? base : `${cwd.replace(/\/*$/, "/")}${base}`;
  const call = connection.call({
    op: "glob",
    path,
    request: { op: "list_tree", path, depth },
    cancel: { ev: "abort" },
    signal,
    timeoutMs,
    onEvent: (event, length) => {
      oneOf(event, "ev", ["entries"]);
      for (const entry of list(event, "entries")) {
        const told = map(entry, "an entry").path;
        if (told instanceof Uint8Array) continue; // not UTF-8: no pattern is for it
        const name = relativePath(told);
        if ((!hidden && /(^|\/)\./.test(name)) || !matcher.match(name)) continue;
        matches.push(base + name);
        total += base.length + name.length + MATCH;
      }
      call.taken(length);
      if (total > maxBytes) call.abandon(tooLong("glob", path, maxBytes));
    },
  });
  try {
    await call.response;
  } catch (error) {
    // a directory that is not there holds nothing that matches
    if (!(error instanceof AgentError && ["ENOENT", "ENOTDIR"].includes(error.code))) throw error;
  }
  return matches.sort();
}
