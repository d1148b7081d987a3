/** A directory of the guest as a list, and how much a list may hold: it becomes objects of several times that size. */

import { checkPath, checkWhole } from "../../errors/check.ts";
import { AgentError } from "../../errors/errors.ts";
import { list, map, oneOf } from "../../wire/fields.ts";
import type { DirEntry, ListOptions } from "../api.ts";
import type { Connection } from "../connect/connection.ts";
import { FILE_MS } from "../connect/silence.ts";
import { readEntry } from "./entry.ts";

/** Bytes that the guest tells. */
export const MAX_LIST = 16 << 20;

export async function listDir(
  connection: Connection,
  path: string,
  options: ListOptions,
): Promise<DirEntry[]> {
  const { maxBytes = MAX_LIST, signal, timeoutMs = FILE_MS } = options;
  checkPath(path);
  checkWhole("maxBytes", maxBytes);
  const entries: DirEntry[] = [];
  let total = 0;
  const call = connection.call({
    op: "listDir",
    path,
    request: { op: "list_dir", path },
    cancel: { ev: "abort" },
    signal,
    timeoutMs,
    onEvent: (event, length) => {
      oneOf(event, "ev", ["entries"]);
      total += length;
      call.taken(length);
      if (total > maxBytes) call.abandon(tooLong("listDir", path, maxBytes));
      else for (const entry of list(event, "entries")) entries.push(readEntry(map(entry, "an entry")));
    },
  });
  await call.response;
  return entries;
}

export function tooLong(op: "listDir" | "glob", path: string, limit: number): AgentError {
  return new AgentError("OUTPUT_TOO_LARGE", `${op} ${path}: the list is longer than ${limit} bytes`, {
    op,
    path,
    hint: "raise maxBytes, or have a program of the guest choose: ls, find",
  });
}
