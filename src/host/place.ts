/**
 * A directory of this machine, held open. Its names are reached through the descriptor, one at a time and without following
 * links: whoever moves or replaces directories meanwhile (a guest can, in a share) leads nobody elsewhere. Trees are made and
 * removed by it.
 */

import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  unlinkSync,
} from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { at, errorCode } from "./file_errors.ts";
import { hold } from "./hold.ts";
import { O_PATH } from "./libc.ts";

/** Directories within each other that are walked: each is a descriptor. */
export const TREE_DEPTH = 256;

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
const HERE = Buffer.from(".");

export class Place {
  readonly fd: number;
  /** For messages. */
  readonly path: string;

  private constructor(fd: number, path: string) {
    this.fd = fd;
    this.path = path;
  }

  /** The directory at `path`. Throws `HostFileError`. */
  static at(path: string): Place {
    using held = hold(path);
    return new Place(
      at(path, () => openSync(held.path, O_RDONLY | O_DIRECTORY)),
      resolve(path),
    );
  }

  /**
   * The directory that holds `path`, and the last name of it. A link there is not followed, unless a slash is behind it:
   * then it is the directory itself, and its name in there.
   */
  static above(path: string): { place: Place; name: Buffer } {
    const whole = resolve(path);
    if (path.endsWith("/")) {
      try {
        return { place: Place.at(whole), name: HERE };
      } catch (error) {
        if (errorCode(error) !== "ENOENT") throw error;
      }
    }
    return { place: Place.at(dirname(whole)), name: Buffer.from(basename(whole) || ".") };
  }

  /** A directory in this one. */
  enter(name: Buffer): Place {
    const path = this.pathOf(name);
    return new Place(
      at(path, () => openSync(this.name(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)),
      path,
    );
  }

  /** What to give to a call of node:fs that means `name` in this directory. */
  name(name: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`/proc/self/fd/${this.fd}/`), name]);
  }

  /** For messages. */
  pathOf(name: Buffer): string {
    if (name.equals(HERE)) return this.path;
    return `${this.path === "/" ? "" : this.path}/${name}`;
  }

  /** Runs what is about `name`; an error of the system comes out as one about its path. */
  try<T>(name: Buffer, work: (path: Buffer) => T): T {
    return at(this.pathOf(name), () => work(this.name(name)));
  }

  /** Permission bits of what has the name, unless it is a link; of nothing that takes the name meanwhile. */
  chmod(name: Buffer, mode: number): void {
    const fd = this.try(name, (path) => openSync(path, O_PATH | O_NOFOLLOW));
    try {
      if (!fstatSync(fd).isSymbolicLink()) this.try(name, () => chmodSync(`/proc/self/fd/${fd}`, mode));
    } finally {
      closeSync(fd);
    }
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** The directory at `path`, and those above it that are missing; `onMade` is told each. Throws `HostFileError`. */
export function makeDirectories(path: string, onMade: (path: string) => void = () => {}): void {
  make(resolve(path), onMade).close();
}

function make(path: string, onMade: (path: string) => void): Place {
  try {
    return Place.at(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT" || path === "/") throw error;
  }
  const above = make(dirname(path), onMade);
  const name = Buffer.from(basename(path));
  try {
    above.try(name, (at) => {
      try {
        mkdirSync(at);
        onMade(path);
      } catch (error) {
        if (errorCode(error) !== "EEXIST") throw error; // somebody else has just made it
      }
    });
    return above.enter(name);
  } finally {
    above.close();
  }
}

/** Each level is a descriptor and a call: what is deeper is moved up before. */
const DEPTH = 128;

/**
 * Remove a tree that somebody else may have made: no link is followed, and neither permissions nor depth stand in the way.
 * Nothing where there is nothing. Throws `HostFileError`.
 */
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
