/** A file or a tree of this machine as a stream of records. */

import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from "node:fs";
import { HostFileError } from "../../errors/errors.ts";
import { errorCode } from "../../host/file_errors.ts";
import { runs } from "../../host/files.ts";
import { Place, TREE_DEPTH } from "../../host/place.ts";
import type { SpecialType } from "../api.ts";
import { MAX_TARGET, nameValue, writeData, writeRecord } from "./record.ts";

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = constants;
/** Records go out together once they are so many bytes: a guest makes many small files of them, in one go. */
const CHUNK = 65_536;
/** Bytes of a file in one record. */
const PIECE = 262_144;
/** What keeps its meaning where the owner changes: set-user and set-group do not. */
const MODE = 0o1777;

type Stats = ReturnType<typeof statOf>;

interface PackOptions {
  /** Told of what is left out, by its path here. */
  readonly onSkip?: ((path: string, type: SpecialType) => void) | undefined;
}

/** What was packed so far. */
export interface Tally {
  entries: number;
  /** Of files' data. */
  bytes: number;
  skipped: number;
}

/**
 * The tree at `path` in pieces of bytes; links are not followed, that at `path` neither unless a slash is behind it. Names
 * that vanish meanwhile are left out. Throws `HostFileError`.
 */
export function* pack(path: string, tally: Tally, options: PackOptions = {}): Generator<Uint8Array> {
  const { place, name } = Place.above(path);
  const packer = new Packer(tally, options);
  try {
    let batch: Uint8Array[] = [];
    let size = 0;
    for (const record of packer.root(place, name)) {
      batch.push(record);
      size += record.length;
      if (size < CHUNK) continue;
      yield batch.length === 1 ? record : Buffer.concat(batch);
      batch = [];
      size = 0;
    }
    if (size > 0) yield Buffer.concat(batch);
  } finally {
    packer.close();
    place.close();
  }
}

interface Level {
  readonly place: Place;
  /** Still to be visited; the last one first. */
  readonly names: Buffer[];
}

class Packer {
  readonly #tally: Tally;
  readonly #options: PackOptions;
  readonly #levels: Level[] = [];
  /** The first name of files that have several, below the root. */
  readonly #links = new Map<string, Buffer>();
  readonly #path: Buffer[] = [];

  constructor(tally: Tally, options: PackOptions) {
    this.#tally = tally;
    this.#options = options;
  }

  close(): void {
    for (const { place } of this.#levels.splice(0)) place.close();
  }

  *root(above: Place, name: Buffer): Generator<Uint8Array> {
    const stats = above.try(name, statOf);
    yield* this.#visit(above, name, stats, true);
    for (let level = this.#levels.at(-1); level !== undefined; level = this.#levels.at(-1)) {
      const next = level.names.pop();
      if (next === undefined) {
        level.place.close();
        this.#levels.pop();
        this.#path.pop();
        yield writeRecord({ ev: "end" });
        continue;
      }
      try {
        yield* this.#visit(level.place, next, level.place.try(next, statOf), false);
      } catch (error) {
        if (!(error instanceof Vanished) && errorCode(error) !== "ENOENT") throw error;
      }
    }
  }

  *#visit(place: Place, name: Buffer, stats: Stats, isRoot: boolean): Generator<Uint8Array> {
    const named = isRoot ? {} : { name: nameValue(name) };
    if (stats.isDirectory()) {
      yield this.#enter(place, name, stats, named);
    } else if (stats.isSymbolicLink()) {
      const target = place.try(name, (path) => readlinkSync(path, { encoding: "buffer" }));
      this.#tally.entries++;
      yield writeRecord({ ev: "symlink", ...named, mtimeNs: stats.mtimeNs, target: nameValue(target) });
    } else if (stats.isFile()) {
      yield* this.#file(place, name, named);
    } else {
      this.#skip(place.pathOf(name), typeOf(stats), isRoot);
    }
  }

  #enter(place: Place, name: Buffer, stats: Stats, named: object): Uint8Array {
    if (this.#levels.length === TREE_DEPTH) {
      throw new HostFileError(
        "ENAMETOOLONG",
        place.pathOf(name),
        `more than ${TREE_DEPTH} directories within each other`,
      );
    }
    const inside = place.enter(name);
    try {
      const names = place.try(name, () => readdirSync(`/proc/self/fd/${inside.fd}`, { encoding: "buffer" }));
      this.#levels.push({ place: inside, names });
    } catch (error) {
      inside.close();
      throw error;
    }
    if (this.#levels.length > 1) this.#path.push(name);
    this.#tally.entries++;
    return writeRecord({ ev: "dir", ...named, mode: Number(stats.mode) & MODE, mtimeNs: stats.mtimeNs });
  }

  *#file(place: Place, name: Buffer, named: object): Generator<Uint8Array> {
    // O_NONBLOCK: whatever it is by now must not hold us up
    const fd = place.try(name, (path) => openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    try {
      const stats = fstatSync(fd, { bigint: true });
      if (!stats.isFile()) throw new Vanished();
      const id = `${stats.dev}:${stats.ino}`;
      const first = stats.nlink > 1n ? this.#links.get(id) : undefined;
      this.#tally.entries++;
      if (first !== undefined) {
        yield writeRecord({ ev: "link", ...named, target: nameValue(first) });
        return;
      }
      yield writeRecord({ ev: "file", ...named, mode: Number(stats.mode) & MODE, mtimeNs: stats.mtimeNs });
      yield* this.#contents(place, name, fd);
      yield writeRecord({ ev: "end" });
      if (stats.nlink > 1n && this.#levels.length > 0) this.#remember(id, name);
    } finally {
      closeSync(fd);
    }
  }

  *#contents(place: Place, name: Buffer, fd: number): Generator<Uint8Array> {
    const piece = Buffer.allocUnsafe(PIECE);
    let at = 0;
    for (const { hole, length } of runs(fd)) {
      const end = at + length;
      if (hole) yield writeRecord({ ev: "hole", size: length });
      while (!hole && at < end) {
        const count = place.try(name, () => readSync(fd, piece, 0, Math.min(PIECE, end - at), at));
        if (count === 0) return; // it is shorter by now
        this.#tally.bytes += count;
        at += count;
        yield writeData(piece.subarray(0, count));
      }
      at = end;
    }
  }

  #remember(id: string, name: Buffer): void {
    const path = Buffer.concat(
      [...this.#path, name].flatMap((part, index) => (index ? [Buffer.from("/"), part] : [part])),
    );
    if (path.length <= MAX_TARGET) this.#links.set(id, path);
  }

  #skip(path: string, type: SpecialType, isRoot: boolean): void {
    if (isRoot) throw new HostFileError("EINVAL", path, `a ${type} is neither a file nor a directory`);
    this.#tally.skipped++;
    this.#options.onSkip?.(path, type);
  }
}

/** What was a file is something else by now. */
class Vanished extends Error {}

function statOf(path: Buffer) {
  return lstatSync(path, { bigint: true });
}

function typeOf(stats: Stats): SpecialType {
  if (stats.isFIFO()) return "fifo";
  if (stats.isSocket()) return "socket";
  return stats.isBlockDevice() ? "block" : "char";
}
