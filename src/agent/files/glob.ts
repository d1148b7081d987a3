/** Paths in the guest by a pattern: the guest tells what there is, and what matches is found here. */

import { checkPath, checkText, checkWhole } from "../../errors/check.ts";
import { AgentError, ArgumentError } from "../../errors/errors.ts";
import { list, map, oneOf } from "../../wire/fields.ts";
import type { GlobOptions } from "../api.ts";
import type { Connection } from "../connect/connection.ts";
import { FILE_MS } from "../connect/silence.ts";
import { relativePath } from "./entry.ts";
import { MAX_LIST, tooLong } from "./list.ts";

const MAGIC = /[*?[\]{}!\\]/;
/** What a match counts for beside its name. */
const MATCH = 64;

/** A pattern cut where its first wildcard is. */
export interface Pattern {
  /** Directory to look through, "" for `cwd` itself, with its slash else. */
  readonly base: string;
  /** What is to match below it. */
  readonly rest: string;
  /** Directories below it that the rest can reach; undefined: any. */
  readonly depth: number | undefined;
}

export function parsePattern(pattern: string): Pattern {
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
  if (checkText("a pattern", pattern) === "") throw new ArgumentError("a pattern is empty");
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
