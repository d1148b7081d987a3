/** Paths in a specification: those of the guest in one form, those of this machine whole and usable. */

import { accessSync, constants } from "node:fs";
import { posix, resolve } from "node:path";
import { type HostFileError, SpecError } from "../errors/errors.ts";
import { quote } from "../errors/printable.ts";
import type { GuestDirectories } from "../host/guest_directories.ts";
import { hold } from "../host/hold.ts";
import { REASONS } from "../host/look_up.ts";
import { unexpanded } from "../host/written.ts";
import type { Context } from "./key.ts";
import { type Path, type Report, reporting } from "./problem.ts";

const PATH_MAX = 4095; // bytes, without the terminator
const NAME_MAX = 255;

/** For a key: a guest path without `.`, `..`, doubled or trailing slashes. */
export function parseGuestPath(given: string, path: Path, { report }: Context): string {
  const normal = normalise(given);
  reporting(report, path, () => checkLength(normal));
  return normal;
}

/** For a key: a path of this machine, absolute. */
export function parseHostPath(given: string, path: Path, { report, base }: Context): string {
  const [why, mend] = unexpanded(given) ?? [];
  if (why !== undefined) report(path, why, mend);
  return resolve(base ?? "", given);
}

/** For a key: a path below a directory, in one form. */
export function parsePathBelow(given: string, path: Path, { report }: Context): string {
  const normal = normalise(given);
  if (/^(\/|\.$|\.\.(\/|$))/.test(normal))
    report(
      path,
      `${quote(given)} is no path below the directory`,
      'such as ".git/hooks"; to have the guest change nothing at all, share it read-only',
    );
  reporting(report, path, () => checkLength(normal));
  return normal;
}

function normalise(path: string): string {
  return posix.normalize(path).replace(/(.)\/$/, "$1");
}

/** Whether a path is another or lies below it; both as {@link parseGuestPath} gives them. */
export function isWithin(path: string, outer: string): boolean {
  return path === outer || path.startsWith(outer === "/" ? outer : `${outer}/`);
}

function checkLength(path: string): void {
  if (Buffer.byteLength(path) > PATH_MAX) throw new SpecError([], `is longer than ${PATH_MAX} bytes`);
  const long = path.split("/").find((part) => Buffer.byteLength(part) > NAME_MAX);
  if (long !== undefined)
    throw new SpecError([], `contains a name of more than ${NAME_MAX} bytes: ${quote(long.slice(0, 20))}…`);
}

/** What a path should lead to. */
export interface Readable {
  readonly kind: "file" | "disk" | "dir" | "shared";
  readonly access?: "read" | "write";
}

/** Who hears of what cannot be, and what there is to know beside the paths. */
export interface Checker {
  readonly report: Report;
  /** Where relative paths have started; absent: at the working directory. */
  readonly base?: string;
  /** Directories that guests may write, beside those that are remembered. */
  readonly guests?: GuestDirectories;
}

/** Reports an absolute path of this machine that does not lead to what is wanted. Gives whether it does. */
export function checkReadable(at: Path, path: string, wanted: Readable, checker: Checker): boolean {
  const isRight = reporting(checker.report, at, () => {
    readable(path, wanted, checker);
    return true;
  });
  return isRight ?? false;
}

/** Throws {@link SpecError}, without a place. */
function readable(path: string, { kind, access = "read" }: Readable, { guests, base }: Checker): void {
  const refuse = (why: string, options: ConstructorParameters<typeof SpecError>[2] = {}) =>
    new SpecError([], `${path} ${why}`, options);
  try {
    using held = hold(path, guests);
    const { status } = held;
    const isDirectory = status.isDirectory();
    if (kind === "shared" && !isDirectory && !status.isFile())
      throw refuse("is neither a directory nor a file", { hint: "share the directory it is in" });
    if (kind === "dir" && !isDirectory) throw refuse("is not a directory");
    if (kind === "file" && isDirectory) throw refuse("is a directory, not a file");
    if (kind === "file" && !status.isFile()) throw refuse("is not a regular file");
    if (kind === "disk" && !status.isFile() && !status.isBlockDevice())
      throw refuse("is neither a file nor a block device");
    const more = isDirectory ? constants.X_OK : 0;
    accessSync(held.path, constants.R_OK | more | (access === "write" ? constants.W_OK : 0));
  } catch (cause) {
    if (cause instanceof SpecError) throw cause;
    const { code, message, hint } = cause as HostFileError;
    if (code === "GUEST_LINK") throw new SpecError([], message, { code, hint, cause });
    if (code === "ENOENT" || code === "ENOTDIR")
      throw refuse("is not there", { hint: `relative paths start at ${base ?? workingDirectory()}`, cause });
    if (code === "EACCES" || code === "EROFS")
      throw refuse(`may not be ${access === "read" ? "read" : "written"}`, { cause });
    throw refuse(`cannot be used: ${REASONS[code] ?? code}`, { cause });
  }
}

function workingDirectory(): string {
  try {
    return process.cwd();
  } catch {
    return "the working directory, which is gone";
  }
}
