/** Removing a tree that somebody else may have made: no link is followed, and no permission stands in the way. */

import { chmodSync, lstatSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { errorCode, Place } from "../agent/tree/place.ts";

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
  try {
    place.try(name, (path) => {
      if (!lstatSync(path).isDirectory()) return unlinkSync(path);
      // A guest may have taken all permissions away
      if ((lstatSync(path).mode & 0o700) !== 0o700) chmodSync(path, 0o700);
    });
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  if (!isDirectory(place, name)) return;
  const inner = place.enter(name);
  try {
    for (const entry of readdirSync(inner.name(Buffer.from(".")), { encoding: "buffer" }))
      removeEntry(inner, entry);
  } finally {
    inner.close();
  }
  place.try(name, (path) => rmdirSync(path));
}

function isDirectory(place: Place, name: Buffer): boolean {
  return lstatSync(place.name(name), { throwIfNoEntry: false })?.isDirectory() ?? false;
}
