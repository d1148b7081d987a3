/**
 * What has been applied of a sandbox that goes on, for its VMM: it keeps what the guest has there until this machine changes
 * that in the share (ffi/virtio/fs/settled.c). Of each entry: inode and time of change in the layer, then in the share, and the
 * path below it, by which alone it was applied; a NUL ends it.
 * The VMM may write where it reads this: it has a copy, and nothing is read back from there.
 */

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeText } from "../host/files.ts";
import { removeTree } from "../host/place.ts";
import type { Delta } from "./compare.ts";
import { enterAbove, isMissing, openUpper } from "./layers.ts";
import { look, type Side, signature } from "./side.ts";
import type { StagedShare, Staging } from "./staging.ts";

const FILE = "applied";

/** `now`: what the shared directories have there. */
export function noteApplied(
  { directory }: Staging,
  applied: readonly (readonly [Delta, now: Side | undefined])[],
): void {
  const shares = new Set(applied.map(([{ share }]) => share));
  for (const share of shares) {
    const path = join(directory, `${FILE}-${share.index}`);
    const gone = applied.filter(([delta]) => delta.share === share && delta.after?.type !== "directory");
    const entries = read(path, new Set(gone.map(([delta]) => keyOf(delta))));
    for (const [delta, now] of applied) {
      const own = delta.share === share ? ownSide(directory, share, delta) : undefined;
      if (own === undefined) continue;
      const key = keyOf(delta);
      entries.set(key, `${own.ino} ${own.ctimeNs} ${now?.ino ?? 0} ${now?.ctimeNs ?? 0} ${key}`);
    }
    const text = Buffer.from([...entries.values()].map((entry) => `${entry}\0`).join(""), "latin1");
    writeText(path, text, { flush: true });
    give(join(directory, String(share.index), FILE), text);
  }
}

/** What the layer has there, unless the guest has changed it since. */
function ownSide(directory: string, share: StagedShare, { path, after }: Delta): Side | undefined {
  if (path.length === 0) return undefined;
  try {
    using upper = openUpper(directory, share);
    using above = enterAbove(upper.place, path);
    const own = look(above.place, path.at(-1)!);
    const same = after === undefined ? own?.whiteout : signature(own) === signature(after);
    return same && own?.type !== "directory" ? own : undefined;
  } catch (error) {
    if (isMissing(error)) return undefined; // it is not there by itself: a directory above it is gone, or was renamed
    throw error;
  }
}

/** For the VMM. Whatever it has put there is replaced, and no link is followed. */
function give(path: string, text: Uint8Array): void {
  const beside = `${path}.new`;
  removeTree(beside);
  writeFileSync(beside, text, { mode: 0o600, flag: "wx" });
  renameSync(beside, path);
}

/** By their paths, but for those at and below `gone`: another one may have the path by and by. */
function read(path: string, gone: ReadonlySet<string>): Map<string, string> {
  const entries = new Map<string, string>();
  let text = "";
  try {
    text = readFileSync(path, "latin1");
  } catch {
    // nothing has been applied yet
  }
  for (const entry of text.split("\0")) {
    const key = entry.split(" ").slice(4).join(" ");
    const names = key.split("/");
    if (key !== "" && !names.some((_, at) => gone.has(names.slice(0, at + 1).join("/"))))
      entries.set(key, entry);
  }
  return entries;
}

function keyOf({ path }: Delta): string {
  return path.map((name) => name.toString("latin1")).join("/");
}
