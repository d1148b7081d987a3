/**
 * A stream of records made into a file or a tree of this machine. It comes from a guest, which may say anything: nothing
 * is written but in the directories that were made or entered on the way, no link is followed, and no file is opened that
 * was there before.
 */

import {
  closeSync,
  constants,
  fchmodSync,
  ftruncateSync,
  futimesSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { at, errorCode } from "../../host/file_errors.ts";
import { setTimes } from "../../host/libc.ts";
import { Place, TREE_DEPTH } from "../../host/place.ts";
import { FrameDecoder, ProtocolError } from "../../wire/framing.ts";
import type { SpecialType } from "../api.ts";
import type { Tally } from "./pack.ts";
import { readRecord, type TreeRecord } from "./record.ts";

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
/** What is taken over of permissions: set-user, set-group and sticky bits are the guest's own affair. */
const MODE = 0o777;
const ATTEMPTS = 100;
let serial = 0;

interface Attributes {
  readonly mode: number;
  readonly mtimeNs: bigint;
}

interface Level {
  readonly place: Place;
  /** Of one that is new; one that was there keeps its own. */
  readonly attributes: Attributes | undefined;
}

interface OpenFile {
  readonly fd: number;
  readonly name: Buffer;
  /** Its name until it is whole. */
  readonly temporary: Buffer;
  readonly attributes: Attributes;
  size: number;
}

interface UnpackOptions {
  /** Told of what is left out, by its path here. */
  readonly onSkip?: ((path: string, type: SpecialType) => void) | undefined;
}

export class Unpacker implements Disposable {
  readonly #above: Place;
  readonly #name: Buffer;
  readonly #tally: Tally;
  readonly #options: UnpackOptions;
  readonly #decoder = new FrameDecoder();
  readonly #levels: Level[] = [];
  #file: OpenFile | undefined;
  #state: "empty" | "open" | "whole" = "empty";

  /** To be at `path`. Throws `HostFileError` when the directory above is not there. */
  constructor(path: string, tally: Tally, options: UnpackOptions = {}) {
    const { place, name } = Place.above(path);
    this.#above = place;
    this.#name = name;
    this.#tally = tally;
    this.#options = options;
  }

  /** Some more of the stream. Throws `ProtocolError` for what is none, and `HostFileError`. */
  push(chunk: Uint8Array): void {
    for (const [message] of this.#decoder.push(chunk)) {
      if (this.#state === "whole") throw new ProtocolError("a tree goes on behind its end");
      this.#take(readRecord(message, this.#state === "empty"));
      this.#state = this.#levels.length === 0 && this.#file === undefined ? "whole" : "open";
    }
  }

  /** The stream has ended. Throws `ProtocolError` when that is too early. */
  finish(): void {
    if (this.#state !== "whole" || this.#decoder.pending) throw new ProtocolError("a tree is cut short");
  }

  /** A file that is not whole goes; all else stays. */
  [Symbol.dispose](): void {
    const { place } = this.#here();
    if (this.#file !== undefined) {
      closeSync(this.#file.fd);
      rmSync(place.name(this.#file.temporary), { force: true });
      this.#file = undefined;
    }
    for (const level of this.#levels.splice(0)) level.place.close();
    this.#above.close();
  }

  #here(): { place: Place } {
    return this.#levels.at(-1) ?? { place: this.#above };
  }

  #take(record: TreeRecord): void {
    if (this.#file !== undefined) {
      this.#contents(this.#file, record);
      return;
    }
    if (record.ev === "end") {
      this.#leave();
      return;
    }
    if (record.ev === "data" || record.ev === "hole")
      throw new ProtocolError("a tree has data outside of its files");
    const name = this.#state === "empty" ? this.#name : record.name;
    const { place } = this.#here();
    if (record.ev === "dir") this.#enter(place, name, record);
    else if (record.ev === "file") this.#open(place, name, record);
    else if (record.ev === "symlink") this.#symlink(place, name, record.target, record.mtimeNs);
    else if (record.ev === "link") this.#link(place, name, record.target);
    else {
      this.#skip(place.pathOf(name), record.ev);
      return;
    }
    this.#tally.entries++;
  }

  #enter(place: Place, name: Buffer, attributes: Attributes): void {
    if (this.#levels.length === TREE_DEPTH) throw new ProtocolError("a tree is nested too deep");
    const made = place.try(name, (path) => {
      try {
        mkdirSync(path, 0o700);
        return true;
      } catch (error) {
        if (errorCode(error) === "EEXIST") return false;
        throw error;
      }
    });
    this.#levels.push({ place: place.enter(name), attributes: made ? attributes : undefined });
  }

  #leave(): void {
    const level = this.#levels.pop();
    if (level === undefined) throw new ProtocolError("a tree ends before it begins");
    const { place, attributes } = level;
    try {
      if (attributes !== undefined) at(place.path, () => adorn(place.fd, attributes));
    } finally {
      place.close();
    }
  }

  #open(place: Place, name: Buffer, attributes: Attributes): void {
    const { fd, temporary } = place.try(name, () =>
      temporarily((temporary) =>
        openSync(place.name(temporary), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600),
      ),
    );
    this.#file = { fd, name, temporary, attributes, size: 0 };
  }

  #contents(file: OpenFile, record: TreeRecord): void {
    const { place } = this.#here();
    if (record.ev === "data") {
      for (let at = 0; at < record.data.length; ) {
        const rest = record.data.length - at;
        at += place.try(file.name, () => writeSync(file.fd, record.data, at, rest, file.size + at));
      }
      file.size += record.data.length;
      this.#tally.bytes += record.data.length;
    } else if (record.ev === "hole") {
      file.size += record.size;
      if (file.size > Number.MAX_SAFE_INTEGER)
        throw new ProtocolError("a file in a tree is too large to be one");
    } else if (record.ev === "end") {
      place.try(file.name, (path) => {
        ftruncateSync(file.fd, file.size);
        adorn(file.fd, file.attributes);
        renameSync(place.name(file.temporary), path);
      });
      this.#file = undefined;
      closeSync(file.fd);
    } else {
      throw new ProtocolError("a file in a tree has no end");
    }
  }

  #symlink(place: Place, name: Buffer, target: Buffer, mtimeNs: bigint): void {
    replace(place, name, (path) => symlinkSync(target, path));
    // where that fails, as on file systems whose links have no time, it is no loss
    setTimes(place.name(name), mtimeNs);
  }

  /** `target`: the names that lead from the root to a file which was made before. */
  #link(place: Place, name: Buffer, target: readonly Buffer[]): void {
    const [root] = this.#levels;
    if (root === undefined) throw new ProtocolError("a tree is a link to itself");
    const last = target.at(-1)!;
    const opened: Place[] = [];
    try {
      let holder = root.place;
      for (const step of target.slice(0, -1)) {
        holder = holder.enter(step);
        opened.push(holder);
      }
      const from = holder.name(last);
      replace(place, name, (path) => linkSync(from, path));
    } finally {
      for (const one of opened) one.close();
    }
  }

  #skip(path: string, type: SpecialType): void {
    if (this.#levels.length === 0) throw new ProtocolError("a tree is no tree");
    this.#tally.skipped++;
    this.#options.onSkip?.(path, type);
  }
}

function adorn(fd: number, { mode, mtimeNs }: Attributes): void {
  fchmodSync(fd, mode & MODE);
  if (!setTimes(fd, mtimeNs)) futimesSync(fd, seconds(mtimeNs), seconds(mtimeNs));
}

/** For node:fs, which is less exact, but says what is wrong. */
function seconds(ns: bigint): number {
  return Number(ns / 1000n) / 1e6;
}

/** Makes something under a name that nothing has. */
function temporarily(make: (name: Buffer) => number): { fd: number; temporary: Buffer } {
  for (let attempt = 1; ; attempt++) {
    const temporary = Buffer.from(`.capsa-${process.pid}-${serial++}`);
    try {
      return { fd: make(temporary), temporary };
    } catch (error) {
      if (errorCode(error) !== "EEXIST" || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Makes a name, in place of what has it now, in one step. */
function replace(place: Place, name: Buffer, make: (path: Buffer) => void): void {
  place.try(name, (path) => {
    try {
      make(path);
      return;
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw error;
    }
    const { temporary } = temporarily((one) => {
      make(place.name(one));
      return -1;
    });
    try {
      renameSync(place.name(temporary), path);
    } finally {
      // still there where both are links of one file, or where it failed
      rmSync(place.name(temporary), { force: true });
    }
  });
}
