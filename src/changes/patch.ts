/**
 * Changes as a patch that `git apply` takes whole: modes, links, renames, contents of any bytes. What no patch can say has a
 * line at its head, which git and patch(1) read over.
 */

import { createHash } from "node:crypto";
import { ArgumentError, CapsaError } from "../errors/errors.ts";
import { below, type Found } from "./collect.ts";
import { type Delta, fill, openAfter, openFile, why } from "./compare.ts";
import { hunks, textOf } from "./diff.ts";
import { literal } from "./git_binary.ts";
import { enterAbove, type Opened, openLower } from "./layers.ts";
import { isWithin, quoted, shownPath } from "./names.ts";
import type { Side } from "./side.ts";
import type { Staging } from "./staging.ts";
import { Turns } from "./turns.ts";

/** Bytes of one file, and of all. */
const MOST_FILE = 64 << 20;
const MOST_PATCH = 256 << 20;

const NO_BLOB = "0".repeat(40);
/** git applies nothing there, on any machine: one's own `.git` as Linux, and as Windows might name it. */
const GITS_OWN = /(^|[\\/])(\.git|git~1)[ .]*([:\\/]|$)/i;
/** Nor links of these names. */
const NO_LINK = /(^|[\\/])(\.gitmodules|gitmod~[1-4]|g?i?7?e?b?a?~[1-9]\d*)[ .]*([:\\/]|$)/i;

type Path = readonly Buffer[];

/** What git keeps of a file or a link. */
interface Blob {
  readonly mode: string;
  readonly bytes: Buffer;
}

/** Why a change is not in the patch. */
class Unsaid extends Error {}

/** Paths are below the directory of the one share that all changes are in. Throws `ArgumentError` where there are several. */
export async function patch(
  staging: Staging,
  found: readonly Found[],
  paths: readonly string[] | undefined,
): Promise<string> {
  const changes = found.flatMap((one) => (inOneShare(one) ? [one] : halves(one, paths)));
  refuseSeveral(staging, changes, paths);
  const writer = new Writer(staging);
  const turns = new Turns();
  for (const one of changes) {
    await writer.add(one, changes);
    await turns.take();
  }
  return writer.text();
}

const inOneShare = ({ deltas }: Found) => deltas.every(({ share }) => share === deltas[0].share);

/** Of a file that went from one share to another: it is new in the one, and deleted in the other. */
function halves({ change, deltas }: Found, paths: readonly string[] | undefined): Found[] {
  const isAt = ({ share, path }: Delta) =>
    paths?.some((one) => isWithin(shownPath(share, path), one)) ?? true;
  return deltas.filter(isAt).map((delta) => ({ change, deltas: [delta] }));
}

function refuseSeveral(
  { record }: Staging,
  changes: readonly Found[],
  paths: readonly string[] | undefined,
): void {
  const shares = new Set(changes.map(({ deltas }) => deltas[0].share));
  if (shares.size < 2 && (paths !== undefined || record.shares.length < 2)) return;
  const places = (paths === undefined ? record.shares : [...shares]).map(({ guest }) => guest);
  throw new ArgumentError(`a patch of git is of one share, and there are ${places.join(", ")}`, {
    hint: "name paths of one of them",
  });
}

class Writer {
  readonly #staging: Staging;
  readonly #notes: string[] = [];
  readonly #parts: string[] = [];
  #length = 0;

  constructor(staging: Staging) {
    this.#staging = staging;
  }

  text(): string {
    return [...this.#notes, ...this.#parts].join("");
  }

  async add(found: Found, all: readonly Found[]): Promise<void> {
    const { change, deltas } = found;
    const [delta, old] = deltas;
    const obstacle = deltas.find((one) => one.obstacle !== undefined)?.obstacle;
    if (obstacle !== undefined) return this.#leaveOut(delta, obstacle);
    if (change.conflict !== undefined) this.#note(`CONFLICT: ${change.path}: ${change.conflict}`);
    if (old !== undefined) return this.#say(delta, async () => rename(old, delta));
    if (delta.kind === "mode") return this.#say(delta, async () => modes(delta));
    return this.#sides(delta, all);
  }

  /** What was there before, and what is there after: as two parts where git cannot change one into the other. */
  async #sides(delta: Delta, all: readonly Found[]): Promise<void> {
    const { share, path, before, after } = delta;
    const old = before?.type === "directory" ? undefined : before;
    const made = after?.type === "directory" ? undefined : after;
    if (before?.type === "directory") {
      const leaves = [...below(share, path)];
      for (const leaf of leaves)
        await this.#say({ ...leaf, share }, () => this.#contents(delta, leaf.path, leaf.side, undefined));
      if (leaves.length === 0) this.#leaveOut(delta, "git knows no empty directories");
    }
    if (old !== undefined && made !== undefined && old.type !== made.type) {
      await this.#say(delta, () => this.#contents(delta, path, old, undefined));
      await this.#say(delta, () => this.#contents(delta, path, undefined, made));
    } else if (old !== undefined || made !== undefined) {
      await this.#say(delta, () => this.#contents(delta, path, old, made));
    }
    if (after?.type === "directory" && !all.some((one) => isIn(one, delta)))
      this.#leaveOut(delta, "git knows no empty directories");
  }

  async #contents(delta: Delta, path: Path, old: Side | undefined, made: Side | undefined): Promise<string> {
    checkName(path, old?.type === "symlink" || made?.type === "symlink");
    const before = old === undefined ? undefined : blobBefore(delta, path, old);
    const after = made === undefined ? undefined : blobAfter(this.#staging, delta, made);
    return contents(path, before, after);
  }

  async #say(at: Pick<Delta, "share" | "path">, part: () => Promise<string>): Promise<void> {
    try {
      const text = await part();
      this.#count(text);
      this.#parts.push(text);
    } catch (error) {
      if (error instanceof CapsaError && error.code === "OUTPUT_TOO_LARGE") throw error;
      this.#leaveOut(at, error instanceof Unsaid ? error.message : why(error));
    }
  }

  #leaveOut({ share, path }: Pick<Delta, "share" | "path">, reason: string): void {
    this.#note(`not in this patch: ${shownPath(share, path)}: ${reason}`);
  }

  #note(line: string): void {
    const text = `# ${line}\n`;
    this.#count(text);
    this.#notes.push(text);
  }

  #count({ length }: string): void {
    this.#length += length;
    if (this.#length <= MOST_PATCH) return;
    throw new CapsaError("OUTPUT_TOO_LARGE", `the patch is over ${MOST_PATCH >> 20} MiB`, {
      hint: "name paths, for a patch of a part; `apply` has no such limit",
    });
  }
}

function isIn({ deltas: [{ share, path }] }: Found, above: Delta): boolean {
  return (
    share === above.share &&
    path.length > above.path.length &&
    above.path.every((name, at) => name.equals(path[at]!))
  );
}

function rename(old: Delta, made: Delta): string {
  for (const { path } of [old, made]) checkName(path, false);
  const [before, after] = [modeOf(old.before!), modeOf(made.after!)];
  const lines = [...head(old.path, made.path), ...(before === after ? [] : changed(before, after))];
  const names = [`rename from ${name("", old.path)}`, `rename to ${name("", made.path)}`];
  return joined([...lines, "similarity index 100%", ...names]);
}

function modes({ path, before, after }: Delta): string {
  if (after!.type === "directory") throw new Unsaid("git knows no permissions of directories");
  const [old, made] = [modeOf(before!), modeOf(after!)];
  if (old === made) throw new Unsaid("of permissions git knows whether its owner may run it, and no others");
  checkName(path, false);
  return joined([...head(path, path), ...changed(old, made)]);
}

async function contents(path: Path, before: Blob | undefined, after: Blob | undefined): Promise<string> {
  const lines = head(path, path);
  const same = before?.mode === after?.mode;
  if (before === undefined) lines.push(`new file mode ${after!.mode}`);
  else if (after === undefined) lines.push(`deleted file mode ${before.mode}`);
  else if (!same) lines.push(...changed(before.mode, after.mode));
  const [old, made] = [before?.bytes ?? Buffer.alloc(0), after?.bytes ?? Buffer.alloc(0)];
  const isSame = before !== undefined && after !== undefined && old.equals(made);
  if (isSame) return same ? "" : joined(lines); // it is again as it was meanwhile
  lines.push(`index ${blobName(before)}..${blobName(after)}${same ? ` ${after!.mode}` : ""}`);
  if (old.length + made.length === 0) return joined(lines);
  const [text, other] = [textOf(old), textOf(made)];
  const difference = text === undefined || other === undefined ? undefined : await hunks(text, other);
  if (difference === undefined)
    return `${joined([...lines, "GIT binary patch"])}${await literal(made)}${await literal(old)}`;
  const side = (prefix: "a/" | "b/", there: unknown) =>
    there === undefined ? "/dev/null" : name(prefix, path);
  return `${joined([...lines, `--- ${side("a/", before)}`, `+++ ${side("b/", after)}`])}${difference}`;
}

const head = (from: Path, to: Path) => [`diff --git ${name("a/", from)} ${name("b/", to)}`];
/** Quoted for a space, too: patch(1) would else take it for the end. */
function name(prefix: "a/" | "b/" | "", path: Path): string {
  const shown = quoted(prefix, path);
  return shown.includes(" ") && !shown.startsWith('"') ? `"${shown}"` : shown;
}

const changed = (before: string, after: string) => [`old mode ${before}`, `new mode ${after}`];
const joined = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join("");

function checkName(path: Path, isLink: boolean): void {
  const told = path.map((one) => one.toString("latin1")).join("/");
  if (GITS_OWN.test(told) || (isLink && NO_LINK.test(told)))
    throw new Unsaid("git applies nothing of that name");
}

function blobBefore({ share }: Delta, path: Path, side: Side): Blob {
  return blobOf(side, () => {
    using lower = openLower(share);
    using above = enterAbove(lower.place, path);
    return read(above, path.at(-1)!, side.size);
  });
}

function blobAfter({ directory }: Staging, delta: Delta, side: Side): Blob {
  return blobOf(side, () => {
    using above = openAfter(directory, delta);
    return read(above, above.name, side.size);
  });
}

function blobOf(side: Side, contents: () => Buffer): Blob {
  if (side.type === "special") throw new Unsaid("git knows no fifos, sockets and devices");
  if (side.size > MOST_FILE) throw new Unsaid(`it is larger than ${MOST_FILE >> 20} MiB`);
  return { mode: modeOf(side), bytes: side.target ?? contents() };
}

/** A guest may have replaced it, or made it longer, meanwhile. */
function read({ place }: Opened, name: Buffer, size: number): Buffer {
  using file = openFile(place, name);
  const bytes = Buffer.allocUnsafe(size + 1);
  const length = fill(file.fd, bytes, 0);
  if (length > size) throw new Unsaid("it grew while it was read");
  return bytes.subarray(0, length);
}

function modeOf({ type, mode }: Side): string {
  if (type === "symlink") return "120000";
  return mode & 0o100 ? "100755" : "100644";
}

function blobName(blob: Blob | undefined): string {
  if (blob === undefined) return NO_BLOB;
  return createHash("sha1").update(`blob ${blob.bytes.length}\0`).update(blob.bytes).digest("hex");
}
