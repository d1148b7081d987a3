/** Changes as people read them: a line each, and for text what differs, as `diff -u` has it. */

import type { Change } from "./api.ts";
import type { Found } from "./collect.ts";
import { type Delta, fill, openAfter, openFile, why } from "./compare.ts";
import { enterAbove, type Opened, openLower } from "./layers.ts";
import { patchPath } from "./names.ts";
import type { Staging } from "./staging.ts";

/** A file that is larger is not shown. */
const MOST_BYTES = 1 << 20;
/** Two texts that differ in more lines are not compared to the end: that takes the square of it. */
const MOST_EDITS = 5000;
const CONTEXT = 3;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** "created /project/a.txt", "renamed /project/a.txt to /project/b.txt": what steps assert on. */
export function headline({ kind, path, from, type }: Change): string {
  if (kind === "renamed") return `renamed ${from} to ${path}`;
  return `${kind} ${path}${type === "directory" ? "/" : ""}`;
}

/** The same with what there is to know of it besides its contents. */
export function summary(change: Change): string {
  const { kind, type, typeBefore, size, sizeBefore, mode, modeBefore, target, mayRun, conflict } = change;
  const octal = (bits: number | undefined) => (bits ?? 0).toString(8).padStart(4, "0");
  const notes: string[] = [];
  if (kind === "type") notes.push(`${typeBefore} to ${type}`);
  if (type === "file" && kind === "modified" && size !== sizeBefore)
    notes.push(`${sizeBefore} to ${size} bytes`);
  else if (type === "file" && (kind === "created" || kind === "type")) notes.push(`${size} bytes`);
  else if (kind === "deleted" && type !== "symlink") notes.push(`${sizeBefore} bytes`);
  const differs = mode !== undefined && modeBefore !== undefined && mode !== modeBefore && type !== "symlink";
  if (differs && kind !== "type") notes.push(`${octal(modeBefore)} to ${octal(mode)}`);
  else if (kind === "created" && type === "file" && mode! & 0o111) notes.push("executable");
  if (target !== undefined && kind !== "deleted") notes.push(`a link to ${target}`);
  if (mayRun !== undefined) notes.push(`this machine may run it: ${mayRun}`);
  if (conflict !== undefined) notes.push(`CONFLICT: ${conflict}`);
  return `${headline(change)}${notes.length > 0 ? ` (${notes.join(", ")})` : ""}`;
}

/** What differs, in unified form; undefined where it is no text, or `reason` where that is more than is shown. */
export async function contents(
  staging: Staging,
  { change, deltas }: Found,
): Promise<{ text: string } | { reason: string } | undefined> {
  const [delta] = deltas;
  const before = delta.before?.type === "file" && change.kind !== "renamed" ? delta.before : undefined;
  const after = delta.after?.type === "file" && change.kind !== "renamed" ? delta.after : undefined;
  if (change.kind === "mode" || (before === undefined && after === undefined)) return undefined;
  if (Math.max(before?.size ?? 0, after?.size ?? 0) > MOST_BYTES)
    return { reason: `larger than ${MOST_BYTES >> 20} MiB, not shown` };
  let old: string | undefined;
  let made: string | undefined;
  try {
    old = before === undefined ? "" : readBefore(delta);
    made = after === undefined ? "" : readAfter(staging, delta);
  } catch (error) {
    return { reason: why(error) };
  }
  if (old === undefined || made === undefined) return { reason: "binary" };
  const difference = await hunks(old, made);
  if (difference === undefined) return { reason: `more than ${MOST_EDITS} lines differ, not shown` };
  if (!difference.startsWith("@@")) return undefined; // a new file that is empty: its line says all
  const side = (name: "a" | "b", there: unknown) =>
    there === undefined ? "/dev/null" : patchPath(name, delta.share, delta.path);
  return { text: `--- ${side("a", before)}\n+++ ${side("b", after)}\n${difference}` };
}

/** In unified form; undefined where more differs than is compared. */
export async function hunks(before: string, after: string): Promise<string | undefined> {
  const { createTwoFilesPatch, OMIT_HEADERS } = await import("diff"); // seldom needed, and slow to load
  return createTwoFilesPatch("", "", before, after, undefined, undefined, {
    context: CONTEXT,
    maxEditLength: MOST_EDITS,
    headerOptions: OMIT_HEADERS,
  });
}

function readBefore({ share, path }: Delta): string | undefined {
  using lower = openLower(share);
  using above = enterAbove(lower.place, path);
  return readText(above, path.at(-1)!);
}

function readAfter({ directory }: Staging, delta: Delta): string | undefined {
  using above = openAfter(directory, delta);
  return readText(above, above.name);
}

/** Undefined where it is no text. A guest may have replaced it, or made it longer, meanwhile. */
function readText({ place }: Opened, name: Buffer): string | undefined {
  using file = openFile(place, name);
  const bytes = Buffer.allocUnsafe(MOST_BYTES + 1);
  return textOf(bytes.subarray(0, fill(file.fd, bytes, 0)));
}

/** Undefined where they are none, or more than is shown. */
export function textOf(bytes: Buffer): string | undefined {
  if (bytes.length > MOST_BYTES || bytes.includes(0)) return undefined;
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}
