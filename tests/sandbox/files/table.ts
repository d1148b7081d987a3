/**
 * What a stranger does in a share: a record a tool, and its program in ./tools where it has one. Each runs by `sh -eu` in an
 * empty directory, with the directory of those programs in $TOOLS, ends with exit code 0 and prints nothing.
 */
import { existsSync } from "node:fs";

export interface Tool {
  /** What the table calls it. */
  readonly name: string;
  /** `size`: how much it does, 1 in `make test`. `seed`: what it does. */
  command(seed: number, size: number): string;
  /** A program that it needs, beside python3 and what every Debian has. */
  readonly needs?: string;
  /** Who runs it makes a difference: it runs as root and as a user in `make test`, too. */
  readonly users?: true;
  /** It maps files: it runs also where the guest's kernel trusts its cache for ever. */
  readonly maps?: true;
  /** This machine runs it at the same time in the same directory; $SIDES has their names, its own first. */
  readonly both?: true;
}

/** Whether this machine has what the tool needs, where a sandbox sees it. */
export const isHere = ({ needs }: Tool): boolean => needs === undefined || existsSync(needs);

/** Where the Rust toolchain of this machine is, if it has one; /toolchain in the sandbox. */
export const toolchain: string | undefined = (() => {
  const rustc = Bun.which("rustc");
  if (!rustc) return undefined;
  const { stdout, success } = Bun.spawnSync([rustc, "--print", "sysroot"], { stderr: "ignore" });
  return success ? stdout.toString().trim() : undefined;
})();

const python = (program: string, ...args: number[]) => `exec python3 "$TOOLS/${program}" ${args.join(" ")}`;
const shell = (program: string) => `exec sh -eu "$TOOLS/${program}"`;

export const TOOLS: readonly Tool[] = [
  { name: "POSIX, call by call", command: () => python("posix.py"), users: true },
  { name: "fsx", command: (seed, size) => python("fsx.py", seed, 1500 * size), maps: true },
  { name: "fsstress", command: (seed, size) => python("fsstress.py", seed, 4, 150 * size) },
  { name: "hard links by the dozen", command: (seed, size) => python("links.py", seed, 150 * size) },
  { name: "renames at once", command: (seed, size) => python("renames.py", seed, 50 * size) },
  { name: "editors that save", command: () => python("save.py"), users: true },
  { name: "mapped, then copied", command: () => python("mapped.py"), maps: true },
  { name: "locks", command: () => python("locks.py") },
  {
    name: "locks that both sides hold",
    command: (_, size) => `exec timeout 300 python3 "$TOOLS/both.py" $SIDES ${20 * size}`,
    both: true,
  },
  { name: "SQLite", command: (_, size) => python("sqlite.py", 20 * size), maps: true },
  { name: "tar, cp and rsync", command: () => shell("archive.sh"), users: true },
  { name: "git", command: () => shell("git.sh"), needs: "/usr/bin/git", users: true },
  { name: "make", command: () => shell("make.sh"), needs: "/usr/bin/make" },
  { name: "npm", command: () => shell("npm.sh"), needs: "/usr/bin/npm" },
  {
    name: "cargo",
    command: () => shell("cargo.sh"),
    needs: toolchain ? `${toolchain}/bin/cargo` : "/toolchain/bin/cargo",
  },
];
