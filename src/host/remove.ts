/** Removing a tree that somebody else may have made: no link is followed, and neither permissions nor depth stand in the way. */

import { lstatSync, readdirSync, renameSync, rmdirSync, unlinkSync } from "node:fs";
import { errorCode } from "./file_errors.ts";
import { Place } from "./place.ts";

/** Each level is a descriptor and a call: what is deeper is moved up before. */
const DEPTH = 128;
const HERE = Buffer.from(".");

/** Nothing where there is nothing. Throws `HostFileError`. */
export function removeTree(path: string): void {
  const { place, name } = Place.above(path);
  try {
    removeEntry(place, name);
  } finally {
    place.close();
  }
}

/** What has the name in the directory, and all below it. */
export function removeEntry(place: Place, name: Buffer): void {
  const left = [name];
  const moveUp = (from: Buffer) => {
    const aside = Buffer.from(`.capsa-${crypto.randomUUID()}`);
    renameSync(from, place.name(aside));
    left.push(aside);
  };
  for (let next = left.pop(); next !== undefined; next = left.pop()) remove(place, next, 0, moveUp);
}

function remove(place: Place, name: Buffer, depth: number, moveUp: (from: Buffer) => void): void {
  if (!isDirectory(place, name)) {
    unlink(place, name);
    return;
  }
  // A guest may have taken all permissions away
  if ((place.try(name, (path) => lstatSync(path)).mode & 0o700) !== 0o700) place.chmod(name, 0o700);
  if (depth === DEPTH) {
    place.try(name, moveUp);
    return;
  }
  const inner = place.enter(name);
  try {
    const entries = inner.try(HERE, (path) => readdirSync(path, { encoding: "buffer" }));
    for (const entry of entries) remove(inner, entry, depth + 1, moveUp);
  } finally {
    inner.close();
  }
  place.try(name, (path) => rmdirSync(path));
}

function isDirectory(place: Place, name: Buffer): boolean {
  return lstatSync(place.name(name), { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function unlink(place: Place, name: Buffer): void {
  try {
    place.try(name, (path) => unlinkSync(path));
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}
