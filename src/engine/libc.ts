/** The calls of the C library that Bun has none of its own for. */
import { dlopen, ptr } from "bun:ffi";

const NAME = process.platform === "darwin" ? "libSystem.dylib" : "libc.so.6";
const LOCK_EXCLUSIVE_NOW = 2 | 4; // LOCK_EX | LOCK_NB

function load() {
  return dlopen(NAME, {
    flock: { args: ["i32", "i32"], returns: "i32" },
    isatty: { args: ["i32"], returns: "i32" },
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

/** execv(3): become another program, in this process and with its descriptors. Returns only where that failed. */
export function become(program: string, argv: readonly string[]): void {
  const words = argv.map((word) => Buffer.from(`${word}\0`));
  const pointers = BigUint64Array.from([...words.map((word) => BigInt(ptr(word))), 0n]);
  libc().execv(ptr(Buffer.from(`${program}\0`)), ptr(pointers));
}
