/**
 * One change made in the shared directory. Everything is made under a name of its own first and takes its place in one
 * step, and what it takes the place of is looked at once more behind that step: who has changed it meanwhile gets it back.
 * Names are reached one at a time through open directories, and no link is followed.
 */

import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lchownSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { runs } from "../host/files.ts";
import { exchange, renameAnew } from "../host/libc.ts";
import { type Place, removeEntry } from "../host/place.ts";
import { type Delta, isStill, leaves, openAfter, openFile } from "./compare.ts";
import { type Entry, noteMade } from "./journal.ts";
import { enterAbove, openLower } from "./layers.ts";
import { identity, look, type Side } from "./side.ts";
import type { Staging } from "./staging.ts";

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
const CHUNK = 1 << 20;
const MEANWHILE = "this machine has changed it at this very moment";

/** Told of each step that has been made, for tests. */
export type Observer = (step: string) => void;

/** Whether this machine has changed something that is to go: what was put into a directory since it was looked at. */
export type Guard = (path: readonly Buffer[], side: Side) => boolean;

/** It cannot be done as things are; nothing has changed. */
export class Refusal extends Error {}

/** The same, but what this machine had there has another name now. */
class Stranded extends Refusal {}

/**
 * `entry` has a name beside it that nothing has. Gives what is there afterwards. Throws {@link Refusal}, and
 * `HostFileError`; then the shared directory is as it was.
 */
export function take(
  staging: Staging,
  delta: Delta,
  entry: Entry,
  isForeign: Guard,
  observe: Observer,
): Side | undefined {
  const aside = Buffer.from(entry.aside);
  const { share, path, kind, before, after } = delta;
  using lower = openLower(share);
  if (path.length === 0) return chmod(lower.place, Buffer.from("."), after!);
  using above = enterAbove(lower.place, path);
  const { place } = above;
  const name = path.at(-1)!;
  if (!isStill(place, name, before)) throw new Refusal(MEANWHILE);
  if (kind === "mode") return chmod(place, name, after!);
  const isUntouched = () => isStill(place, aside, before) && !hasForeign(place, aside, delta, isForeign);
  if (after === undefined) {
    putAside(place, name, aside, isUntouched, observe);
    return undefined;
  }
  try {
    make(staging, delta, place, aside);
    observe("made");
    noteMade(staging, entry.aside, look(place, aside));
    observe("noted");
    if (before === undefined) appear(place, name, aside);
    else replace(place, name, aside, before, isUntouched);
  } catch (error) {
    if (!(error instanceof Stranded)) removeEntry(place, aside);
    throw error;
  }
  observe("placed");
  removeEntry(place, aside); // what has lost its place
  return look(place, name);
}

/** Gives the new name to what nothing may have taken meanwhile. */
function appear(place: Place, name: Buffer, aside: Buffer): void {
  if (renameAnew(place.name(aside), place.name(name))) return;
  if (look(place, name) !== undefined) throw new Refusal(MEANWHILE);
  place.try(name, (path) => renameSync(place.name(aside), path)); // a file system that cannot ask for that
}

function replace(place: Place, name: Buffer, aside: Buffer, before: Side, isUntouched: () => boolean): void {
  if (!exchange(place.name(aside), place.name(name))) {
    if (before.type === "directory")
      throw new Refusal("the file system cannot have a directory replaced in one step");
    place.try(name, (path) => renameSync(place.name(aside), path));
    return;
  }
  if (isUntouched()) return;
  if (exchange(place.name(aside), place.name(name))) throw new Refusal(MEANWHILE);
  throw new Stranded(`${MEANWHILE}, and what it had there is ${place.pathOf(aside)} now`);
}

/** Something changed in a directory that is about to be removed. */
function hasForeign(place: Place, aside: Buffer, { path, before }: Delta, isForeign: Guard): boolean {
  if (before?.type !== "directory") return false;
  const inner = place.enter(aside);
  try {
    for (const leaf of leaves(inner, path)) if (isForeign(leaf.path, leaf.side)) return true;
    return false;
  } finally {
    inner.close();
  }
}

function putAside(
  place: Place,
  name: Buffer,
  aside: Buffer,
  isUntouched: () => boolean,
  observe: Observer,
): void {
  place.try(name, (path) => renameSync(path, place.name(aside)));
  observe("aside");
  if (!isUntouched()) {
    if (renameAnew(place.name(aside), place.name(name))) throw new Refusal(MEANWHILE);
    throw new Refusal(`${MEANWHILE}, and what it had there is ${place.pathOf(aside)} now`);
  }
  try {
    removeEntry(place, aside);
  } catch (error) {
    renameAnew(place.name(aside), place.name(name)); // what of it may not be removed
    throw error;
  }
  observe("removed");
}

function chmod(place: Place, name: Buffer, after: Side): Side | undefined {
  place.chmod(name, after.mode);
  return look(place, name);
}

/** Makes what the guest has, in the directory of the host, under the name `aside`. */
function make(staging: Staging, delta: Delta, place: Place, aside: Buffer): void {
  const after = delta.after!;
  if (after.type === "directory") makeDirectory(place, aside, delta);
  else if (after.type === "symlink") makeLink(place, aside, delta);
  else {
    using from = openAfter(staging.directory, delta);
    copy(from, delta, place, aside);
  }
}

function makeDirectory(place: Place, aside: Buffer, delta: Delta): void {
  place.try(aside, (path) => mkdirSync(path, 0o700));
  const made = place.enter(aside);
  try {
    own(delta, place, (uid, gid) => fchownSync(made.fd, uid, gid));
    fchmodSync(made.fd, delta.after!.mode);
  } finally {
    made.close();
  }
}

function makeLink(place: Place, aside: Buffer, delta: Delta): void {
  place.try(aside, (path) => symlinkSync(delta.after!.target!, path));
  own(delta, place, (uid, gid) => lchownSync(place.name(aside), uid, gid));
}

/** The file as long as it was when it was looked at: a guest that goes on writing is not followed for ever. */
function copy(from: ReturnType<typeof openAfter>, delta: Delta, place: Place, aside: Buffer): void {
  const { size, mode } = delta.after!;
  using source = openFile(from.place, from.name);
  const fd = place.try(aside, (path) => openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
  try {
    place.try(aside, () => {
      let at = 0;
      for (const run of runs(source.fd)) {
        const end = Math.min(size, at + run.length);
        if (!run.hole) copyRange(source.fd, fd, at, end);
        at = end;
        if (at === size) break;
      }
      ftruncateSync(fd, size);
      own(delta, place, (uid, gid) => fchownSync(fd, uid, gid));
      fchmodSync(fd, mode);
      fsyncSync(fd); // before the guest's own copy may be dropped
    });
  } finally {
    closeSync(fd);
  }
}

function copyRange(from: number, to: number, begin: number, end: number): void {
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK, end - begin));
  for (let at = begin; at < end; ) {
    const read = readSync(from, buffer, 0, Math.min(buffer.length, end - at), at);
    if (read === 0) return;
    for (let written = 0; written < read; )
      written += writeSync(to, buffer, written, read - written, at + written);
    at += read;
  }
}

/**
 * Root can give files away: to whom the guest did where its ids are the host's, else to who had it before, or to who has
 * the directory. Everybody else's are their own.
 */
function own({ share, before, after }: Delta, place: Place, chown: (uid: number, gid: number) => void): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = share.owned ? after! : (before ?? fstatSync(place.fd));
  chown(uid, gid);
}

/** Finish, or take back, what a process that died in between has left under the entry's name; `made`: what it had made. */
export function tidy(place: Place, name: Buffer, entry: Entry, made: string | undefined): void {
  const aside = Buffer.from(entry.aside);
  const left = look(place, aside);
  if (left === undefined) return;
  const unused = entry.makes && (made === undefined || identity(left) === made);
  if (unused || identity(left) === entry.before) {
    removeEntry(place, aside);
    return;
  }
  // It has lost its place, and this machine had just changed it, which nobody had looked at yet
  if (renameAnew(place.name(aside), place.name(name))) return;
  if (identity(look(place, name)) === made && exchange(place.name(aside), place.name(name)))
    removeEntry(place, aside);
}
