/** The calls of the C library that Bun has none of its own for. */
import { dlopen, ptr } from "bun:ffi";

const NAME = process.platform === "darwin" ? "libSystem.dylib" : "libc.so.6";
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

function load() {
  return dlopen(NAME, {
    flock: { args: ["i32", "i32"], returns: "i32" },
    isatty: { args: ["i32"], returns: "i32" },
    futimens: { args: ["i32", "ptr"], returns: "i32" },
    utimensat: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
    lseek: { args: ["i32", "i64", "i32"], returns: "i64" },
    syscall: { args: ["i64", "i32", "ptr", "ptr", "u64"], returns: "i64" },
    execv: { args: ["ptr", "ptr"], returns: "i32" },
  }).symbols;
}

let loaded: ReturnType<typeof load> | undefined;

function libc(): ReturnType<typeof load> {
  loaded ??= load();
  return loaded;
}

/** flock(2): lock the open file for this process alone; false where another has it. Never blocks. */
export function lockFile(fd: number): boolean {
  return libc().flock(fd, LOCK_EXCLUSIVE_NOW) === 0;
}

/** isatty(3). `process.stdin.isTTY` says the same, after loading Node's streams. */
export function isTerminal(fd: number): boolean {
  return libc().isatty(fd) === 1;
}

/** lseek(2); -1 where it fails. Node's files know no holes. */
export function seek(fd: number, offset: number, whence: typeof SEEK_DATA | typeof SEEK_HOLE): number {
  return Number(libc().lseek(fd, offset, whence));
}

/**
 * openat2(2): an O_PATH descriptor of what the path leads to, from the directory `above` where it is relative, if there is
 * no link on the way and at its end; -1 where there is, and where anything else fails.
 */
export function openWithoutLinks(path: string | Uint8Array, above = AT_FDCWD): number {
  const how = BigUint64Array.from([O_PATH | O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS].map(BigInt));
  const name = Buffer.concat([Buffer.from(path), Buffer.of(0)]);
  return Number(libc().syscall(SYS_OPENAT2, above, ptr(name), ptr(how), BigInt(how.byteLength)));
}

/** Set both times of an open file, or of a path which may be a link, to the nanosecond; false where that fails. */
export function setTimes(file: number | Uint8Array, ns: bigint): boolean {
  const second = 1_000_000_000n;
  const rest = ((ns % second) + second) % second;
  const time = [(ns - rest) / second, rest];
  const times = BigInt64Array.from([...time, ...time]);
  if (typeof file === "number") return libc().futimens(file, times) === 0;
  return libc().utimensat(AT_FDCWD, Buffer.concat([file, Buffer.of(0)]), times, AT_SYMLINK_NOFOLLOW) === 0;
}

/**
 * Linux's prctl(2): from now on this process leaves no core, whatever its limits say, and its memory is closed to others
 * of its user (/proc/PID/mem, ptrace). False where that cannot be had.
 */
export function hideMemory(): boolean {
  const { symbols, close } = dlopen(NAME, {
    prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
  });
  const hidden = symbols.prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n) === 0;
  close();
  return hidden;
}

/** execv(3): become another program, in this process and with its descriptors. Returns only where that failed. */
export function become(program: string, argv: readonly (string | Uint8Array)[]): void {
  const words = argv.map((word) => Buffer.concat([Buffer.from(word as string), Buffer.of(0)]));
  const pointers = BigUint64Array.from([...words.map((word) => BigInt(ptr(word))), 0n]);
  libc().execv(ptr(Buffer.from(`${program}\0`)), ptr(pointers));
}
