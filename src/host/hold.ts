/**
 * What a path of this machine leads to, looked up once and held open from then on: whoever moves or replaces things
 * meanwhile leads nobody elsewhere. Links are followed as everywhere, but for those in a directory that a guest may write:
 * it would choose what is read or written here.
 */

import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readlinkSync,
  statfsSync,
} from "node:fs";
import { resolve } from "node:path";
import { HostFileError } from "../errors/errors.ts";
import { at } from "./file_errors.ts";
import { type GuestDirectories, type GuestDirectory, guestDirectory } from "./guest_directories.ts";
import type { Identity } from "./identity.ts";
import { O_PATH, openWithoutLinks } from "./libc.ts";

/** Linux's own limit. */
const MOST_LINKS = 40;
const PROC_SUPER_MAGIC = 0x9fa0;

/** Something of this machine by a descriptor, whatever has its name by now. Ends with its scope. */
export class Held implements Disposable {
  readonly fd: number;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** A path that leads to it alone, while it is held. */
  get path(): string {
    return `/proc/self/fd/${this.fd}`;
  }

  get status(): BigIntStats {
    return fstatSync(this.fd, { bigint: true });
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

/**
 * `others`: directories that guests may write, beside those that are remembered. Throws `HostFileError`, also
 * `GUEST_LINK`.
 */
export function hold(path: string, others?: GuestDirectories): Held {
  const whole = resolve(path);
  const direct = openDirectly(whole); // no link on the way: there is nothing to ask about
  return new Held(direct >= 0 ? direct : at(whole, () => walk(whole, others).fd));
}

/** Whether a guest may write there, or once could. Throws as {@link hold} does. */
export function isGuests(path: string): boolean {
  const { fd, within } = at(path, () => walk(resolve(path), undefined));
  closeSync(fd);
  return within !== undefined;
}

/** Throws as {@link hold} does. */
export function statusOf(path: string, others?: GuestDirectories): BigIntStats {
  using held = hold(path, others);
  return held.status;
}

/** Throws as {@link hold} does. */
export function identityOf(path: string): Identity {
  const { dev, ino } = statusOf(path);
  return [dev, ino];
}

interface Level {
  readonly fd: number;
  /** It is in that one, or is it. */
  readonly within: GuestDirectory | undefined;
}

/** As the kernel would find its way, a name at a time; names are bytes, in Latin-1. */
function walk(whole: string, others: GuestDirectories | undefined): Level {
  const levels: Level[] = [];
  const up = (depth: number) => {
    for (const { fd } of levels.splice(depth)) closeSync(fd);
  };
  const down = (fd: number) => {
    const within = guestDirectory(fd, others) ?? levels.at(-1)?.within;
    levels.push({ fd, within });
  };
  const names = namesIn(Buffer.from(whole).toString("latin1"));
  try {
    down(openSync("/", O_PATH));
    for (let links = 0, name = names.pop(); name !== undefined; name = names.pop()) {
      if (name === "..") {
        up(Math.max(1, levels.length - 1));
        continue;
      }
      const { fd: above, within } = levels.at(-1)!;
      const fd = openIn(above, name);
      if (!fstatSync(fd).isSymbolicLink()) {
        down(fd);
        continue;
      }
      closeSync(fd);
      if (within !== undefined) throw guestLink(whole, name, within);
      if (++links > MOST_LINKS) throw new HostFileError("ELOOP", whole, "too many links on the way");
      const link = bytesBelow(above, name);
      const magic = statfsSync(`/proc/self/fd/${above}`).type === PROC_SUPER_MAGIC ? openMagic(link) : -1;
      if (magic >= 0) {
        down(magic);
        continue;
      }
      const target = readlinkSync(link, { encoding: "buffer" }).toString("latin1");
      if (target.startsWith("/")) up(1);
      names.push(...namesIn(target));
    }
    return levels.pop()!;
  } finally {
    up(0);
  }
}

/** The last one first. */
function namesIn(path: string): string[] {
  return path
    .split("/")
    .filter((name) => name !== "" && name !== ".")
    .reverse();
}

function bytesBelow(above: number, name: string): Buffer {
  return Buffer.from(`/proc/self/fd/${above}/${name}`, "latin1");
}

/**
 * -1 where there is a link, and where it fails. A slash comes first: with it a directory is entered, and so one that is
 * mounted when somebody comes (autofs) is mounted; without, the bare directory is opened. A file has none behind it.
 */
function openDirectly(path: string | Buffer, above?: number): number {
  const directory = openWithoutLinks(Buffer.concat([Buffer.from(path), Buffer.from("/")]), above);
  return directory >= 0 ? directory : openWithoutLinks(path, above);
}

/** A link as itself. */
function openIn(above: number, name: string): number {
  const direct = openDirectly(Buffer.from(name, "latin1"), above);
  return direct >= 0 ? direct : openSync(bytesBelow(above, name), O_PATH | constants.O_NOFOLLOW);
}

/** What a link of /proc stands for, such as /proc/self/fd/1: no path may lead there. -1 for a directory, to which one does. */
function openMagic(link: Buffer): number {
  const fd = openSync(link, O_PATH);
  if (!fstatSync(fd).isDirectory()) return fd;
  closeSync(fd);
  return -1;
}

function guestLink(whole: string, name: string, { path, sandbox }: GuestDirectory): HostFileError {
  const link = JSON.stringify(Buffer.from(name, "latin1").toString());
  return new HostFileError(
    "GUEST_LINK",
    whole,
    `${link} is a link in ${path}, where sandbox ${sandbox} may write: its guest may have made it`,
    { hint: "if you made the link, give the path that it leads to; otherwise remove it" },
  );
}
