/**
 * What the compiled command line was made of: the size and time of each file, kept beside it. It runs only while they are
 * the same; after an edit the sources run instead, until the next set-up.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** The compiled command line, and the list of what it was made of, below the package. */
export const PROGRAM = "build/capsa";
export const LIST = "build/capsa.sources";
/** All that has a part in it. The lock file stands for the packages. */
export const PATTERNS = ["src/**/*", "package.json", "package-lock.json"];

/** A line for each file of `paths` below `root`. Throws where one is missing. */
export function describeSources(root: string, paths: readonly string[]): string {
  return paths.map((path) => `${stamp(root, path)} ${path}\n`).join("");
}

/** Whether the compiled command line of `root` is what its sources would be. */
export function isFresh(root: string): boolean {
  try {
    const lines = readFileSync(join(root, LIST), "utf8").trimEnd().split("\n");
    return lines.every((line) => {
      const path = line.slice(line.indexOf(" ") + 1);
      return line === `${stamp(root, path)} ${path}`;
    });
  } catch {
    return false; // no list, or a file of it is gone
  }
}

function stamp(root: string, path: string): string {
  const { size, mtimeMs } = statSync(join(root, path));
  return `${size}@${mtimeMs}`;
}
