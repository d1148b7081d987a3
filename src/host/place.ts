/**
 * A directory of this machine, held open. Its names are reached through the descriptor, one at a time and without
 * following links: whoever moves or replaces directories meanwhile (a guest can, in a share) leads nobody elsewhere.
 */

import { chmodSync, closeSync, constants, fstatSync, mkdirSync, openSync } from "node:fs";
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
