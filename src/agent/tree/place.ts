/**
 * A directory of this machine, held open. Its names are reached through the descriptor, one at a time and without
 * following links: whoever moves or replaces directories meanwhile (a guest can, in a share) leads nobody elsewhere.
 */

import { closeSync, constants, openSync, realpathSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { HostFileError } from "../../errors.ts";

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;

export class Place {
  readonly fd: number;
  /** For messages. */
  readonly path: string;

  private constructor(fd: number, path: string) {
    this.fd = fd;
    this.path = path;
  }

  /**
   * The directory that holds `path`, and the last name of it. A link there is not followed, unless a slash is behind it.
   */
  static above(path: string): { place: Place; name: Buffer } {
    const whole = path.endsWith("/") ? resolved(path) : resolve(path);
    const above = dirname(whole);
    const name = Buffer.from(basename(whole) || ".");
    return {
      place: new Place(
        at(above, () => openSync(above, O_RDONLY | O_DIRECTORY)),
        above,
      ),
      name,
    };
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
    return `${this.path === "/" ? "" : this.path}/${name}`;
  }

  /** Runs what is about `name`; an error of the system comes out as one about its path. */
  try<T>(name: Buffer, work: (path: Buffer) => T): T {
    return at(this.pathOf(name), () => work(this.name(name)));
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** Runs `work`, whose errors are about `path` whatever path they name. */
export function at<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asHostError(path, error);
  }
}

export function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

function asHostError(path: string, error: unknown): unknown {
  const code = errorCode(error);
  if (error instanceof HostFileError || code === undefined || !(error instanceof Error)) return error;
  // "ENOENT: no such file or directory, open '/proc/self/fd/5/x'"
  const why = error.message.replace(/^[A-Z0-9]+: /, "").replace(/, [a-z0-9]+ '.*$/s, "");
  return new HostFileError(code, path, why, { cause: error });
}

/** Where a path ends that has a slash behind it; itself where nothing is. */
function resolved(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return resolve(path);
    throw asHostError(path, error);
  }
}
