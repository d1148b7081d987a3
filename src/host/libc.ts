/** The calls of the C library that Bun and Node have none of their own for: the one place that opens it. */

import { dlopen, ptr } from "bun:ffi";
import { constants } from "node:os";

const NAME = process.platform === "darwin" ? "libSystem.B.dylib" : "libc.so.6";
/** Linux's. */
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
/** Linux's, of lseek(2). */
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
/** Linux's, of prctl(2). */
const PR_SET_DUMPABLE = 4;
const LOCK_EXCLUSIVE_NOW = 2 | 4; // LOCK_EX | LOCK_NB
/** Linux's: a descriptor of whatever has a name, which opens nothing. */
export const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const SYS_OPENAT2 = 437n; // on every processor
const RESOLVE_NO_SYMLINKS = 4;
const S_IFCHR = 0o020000;
/** Linux's, of renameat2(2). */
const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const RENAME_WHITEOUT = 4;
/** Of tcsetattr(3): what is still to be shown is shown first. */
const TCSADRAIN = 1;
/** More than `struct termios` takes anywhere, bytes. */
const TERMIOS_SIZE = 256;

const CALLS = {
  cfmakeraw: { args: ["ptr"], returns: "void" },
  execv: { args: ["ptr", "ptr"], returns: "i32" },
  flock: { args: ["i32", "i32"], returns: "i32" },
  futimens: { args: ["i32", "ptr"], returns: "i32" },
  getxattr: { args: ["ptr", "ptr", "ptr", "u64"], returns: "i64" },
  isatty: { args: ["i32"], returns: "i32" },
  lseek: { args: ["i32", "i64", "i32"], returns: "i64" },
  mknod: { args: ["ptr", "u32", "u64"], returns: "i32" },
  prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
  removexattr: { args: ["ptr", "ptr"], returns: "i32" },
  renameat2: { args: ["i32", "ptr", "i32", "ptr", "u32"], returns: "i32" },
  setxattr: { args: ["ptr", "ptr", "ptr", "u64", "i32"], returns: "i32" },
  syscall: { args: ["i64", "i32", "ptr", "ptr", "u64"], returns: "i64" },
  tcgetattr: { args: ["i32", "ptr"], returns: "i32" },
  tcsetattr: { args: ["i32", "i32", "ptr"], returns: "i32" },
  utimensat: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
} as const;

type Calls = ReturnType<typeof dlopen<typeof CALLS>>["symbols"];

const found = {} as Calls;

/** Looked up when it is first wanted: a command that takes one has no time for all, nor this system for Linux's own. */
function libc<Name extends keyof Calls>(name: Name): Calls[Name] {
  if (!(name in found))
    found[name] = dlopen(NAME, { [name]: CALLS[name] } as unknown as typeof CALLS).symbols[name];
  return found[name];
}

const terminated = (text: string | Uint8Array) => Buffer.concat([Buffer.from(text), Buffer.of(0)]);

/** flock(2): lock the open file for this process alone; false where another has it. Never blocks. */
export function lockFile(fd: number): boolean {
  return libc("flock")(fd, LOCK_EXCLUSIVE_NOW) === 0;
}

/** isatty(3). `process.stdin.isTTY` says the same, after loading Node's streams. */
export function isTerminal(fd: number): boolean {
  return libc("isatty")(fd) === 1;
}

/** lseek(2); -1 where it fails. Node's files know no holes. */
export function seek(fd: number, offset: number, whence: typeof SEEK_DATA | typeof SEEK_HOLE): number {
  return Number(libc("lseek")(fd, offset, whence));
}

/**
 * openat2(2): an O_PATH descriptor of what the path leads to, from the directory `above` where it is relative, if there is
 * no link on the way and at its end; -1 where there is, and where anything else fails.
 */
export function openWithoutLinks(path: string | Uint8Array, above = AT_FDCWD): number {
  const how = BigUint64Array.from([O_PATH | O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS].map(BigInt));
  const name = terminated(path);
  return Number(libc("syscall")(SYS_OPENAT2, above, ptr(name), ptr(how), BigInt(how.byteLength)));
}

/** Set both times of an open file, or of a path which may be a link, to the nanosecond; false where that fails. */
export function setTimes(file: number | Uint8Array, ns: bigint): boolean {
  const second = 1_000_000_000n;
  const rest = ((ns % second) + second) % second;
  const time = [(ns - rest) / second, rest];
  const times = BigInt64Array.from([...time, ...time]);
  if (typeof file === "number") return libc("futimens")(file, times) === 0;
  return libc("utimensat")(AT_FDCWD, terminated(file), times, AT_SYMLINK_NOFOLLOW) === 0;
}

/**
 * Linux's prctl(2): from now on this process leaves no core, whatever its limits say, and its memory is closed to others
 * of its user (/proc/PID/mem, ptrace). False where that cannot be had.
 */
export function hideMemory(): boolean {
  return libc("prctl")(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n) === 0;
}

/** execv(3): become another program, in this process and with its descriptors. Returns only where that failed. */
export function become(program: string, argv: readonly (string | Uint8Array)[]): void {
  const words = argv.map(terminated);
  const pointers = BigUint64Array.from([...words.map((word) => BigInt(ptr(word))), 0n]);
  libc("execv")(ptr(terminated(program)), ptr(pointers));
}

/** The modes of a terminal, as tcgetattr(3) has them; undefined where it does not tell them. */
export function terminalModes(fd: number): Uint8Array | undefined {
  const modes = new Uint8Array(TERMIOS_SIZE);
  return libc("tcgetattr")(fd, modes) === 0 ? modes : undefined;
}

/** The same in raw mode, cfmakeraw(3). */
export function rawModes(modes: Uint8Array): Uint8Array {
  const raw = modes.slice();
  libc("cfmakeraw")(raw);
  return raw;
}

export function setTerminalModes(fd: number, modes: Uint8Array): void {
  libc("tcsetattr")(fd, TCSADRAIN, modes);
}

/** renameat2(2). False where it fails, or the file system cannot do that. */
function rename(from: string | Uint8Array, to: string | Uint8Array, flags: number): boolean {
  const [source, target] = [terminated(from), terminated(to)];
  return libc("renameat2")(AT_FDCWD, ptr(source), AT_FDCWD, ptr(target), flags) === 0;
}

/** Have two names change places, in one step. */
export function exchange(one: Uint8Array, other: Uint8Array): boolean {
  return rename(one, other, RENAME_EXCHANGE);
}

/** Rename to a name that nothing has. */
export function renameAnew(from: Uint8Array, to: Uint8Array): boolean {
  return rename(from, to, RENAME_NOREPLACE);
}

/**
 * The value of an extended attribute of what the path leads to, as Latin-1; undefined where it has none, or one that is longer
 * than `most` bytes.
 */
export function attribute(path: string | Uint8Array, name: string, most = 16): string | undefined {
  const value = new Uint8Array(most);
  const [where, what] = [terminated(path), terminated(name)];
  const length = Number(libc("getxattr")(ptr(where), ptr(what), ptr(value), value.length));
  return length < 0 ? undefined : Buffer.from(value.subarray(0, length)).toString("latin1");
}

/** Give what the path leads to an extended attribute; false where that fails. */
export function setAttribute(path: string | Uint8Array, name: string, value: string): boolean {
  const [where, what, data] = [terminated(path), terminated(name), Buffer.from(`${value}\0`, "latin1")];
  return libc("setxattr")(ptr(where), ptr(what), ptr(data), data.length - 1, 0) === 0;
}

/** Take an extended attribute away from what the path leads to; false where that fails. */
export function removeAttribute(path: string | Uint8Array, name: string): boolean {
  const [where, what] = [terminated(path), terminated(name)];
  return libc("removexattr")(ptr(where), ptr(what)) === 0;
}

/** Make an overlay's whiteout: a character device of number 0, for which Linux asks no privilege; false where that fails. */
export function makeWhiteout(path: string | Uint8Array): boolean {
  const where = terminated(path);
  return libc("mknod")(ptr(where), S_IFCHR, 0) === 0;
}

/** Rename, and leave a whiteout at the old name; false where that fails. */
export function renameOut(from: string | Uint8Array, to: string | Uint8Array): boolean {
  return rename(from, to, RENAME_WHITEOUT);
}

/** Error numbers of this system by name. */
const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** `"ENOENT"` for 2 (positive), `"errno 1234"` for one without a name. */
export function errnoName(number: number): string {
  return ERRNO_NAMES.get(number) ?? `errno ${number}`;
}
