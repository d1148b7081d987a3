/**
 * An apply that is under way, as the disk knows it: what was in the shared directory when somebody said yes. Whoever comes
 * after a process that died in the middle of it finishes it: what has not been done yet, and only that.
 */

import { appendFileSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeWhole } from "../host/files.ts";
import type { Delta } from "./compare.ts";
import { identity, type Side } from "./side.ts";
import type { Staging } from "./staging.ts";

const FILE = "apply.json";
const MADE = "apply.made";

export interface Entry {
  /** Of the share. */
  readonly index: number;
  /** Names below it, in base64: they may be any bytes. */
  readonly path: readonly string[];
  /** Identity of what was there. */
  readonly before: string;
  /** A name beside it, for what is made before it takes its place, and for what has lost it. */
  readonly aside: string;
  /** Something is made; else something is only removed. */
  readonly makes: boolean;
}

interface Journal {
  readonly version: 1;
  readonly entries: readonly Entry[];
}

/** What `deltas` will need. Names of an apply are those of no other. */
export function journalOf(deltas: readonly Delta[]): Journal {
  const tag = crypto.getRandomValues(Buffer.alloc(6)).toString("hex");
  const entries = deltas.map(({ share, path, kind, before, after }, serial) => ({
    index: share.index,
    path: path.map((name) => name.toString("base64")),
    before: identity(before),
    aside: `.capsa-${tag}-${serial}`,
    makes: kind !== "mode" && after !== undefined,
  }));
  return { version: 1, entries };
}

export function writeJournal({ directory }: Staging, journal: Journal): void {
  writeWhole(join(directory, FILE), journal, { flush: true });
}

/** Undefined when no apply is under way. */
export function readJournal({ directory }: Staging): Journal | undefined {
  try {
    const journal = JSON.parse(readFileSync(join(directory, FILE), "utf8"));
    return journal?.version === 1 ? journal : undefined;
  } catch {
    return undefined;
  }
}

/** What has been made, and is about to take its place, is not mistaken for what has lost it. */
export function noteMade({ directory }: Staging, aside: string, made: Side | undefined): void {
  appendFileSync(join(directory, MADE), `${aside} ${identity(made)}\n`);
}

/** Identities of what was made, by the names it was made under. */
export function readMade({ directory }: Staging): Map<string, string> {
  try {
    const lines = readFileSync(join(directory, MADE), "utf8").split("\n");
    return new Map(
      lines.map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]),
    );
  } catch {
    return new Map();
  }
}

export function dropJournal({ directory }: Staging): void {
  rmSync(join(directory, FILE), { force: true });
  rmSync(join(directory, MADE), { force: true });
}

export function pathOf(entry: Entry): Buffer[] {
  return entry.path.map((name) => Buffer.from(name, "base64"));
}

/** Whether it is about the same path. */
export function isAt(entry: Entry, { share, path }: Delta): boolean {
  return (
    entry.index === share.index &&
    entry.path.length === path.length &&
    entry.path.every((name, at) => path[at]!.equals(Buffer.from(name, "base64")))
  );
}
