/**
 * The blocks of TypeScript in the documentation, those of docs/api among them, which are the docstrings' examples.
 * By the fence: ```ts is compiled and run, ```ts no_run is compiled only (rustdoc's word for it).
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

export const ROOT = resolve(import.meta.dirname, "../..");

export interface Block {
  /** Below {@link ROOT}. */
  readonly file: string;
  /** Of its first line of code. */
  readonly line: number;
  readonly code: string;
  /** It imports capsa by itself: a whole program. Others are given what they name, see context.ts. */
  readonly program: boolean;
  readonly run: boolean;
}

/** Every page of documentation, below {@link ROOT}. */
export function pages(): string[] {
  const docs = new Bun.Glob("docs/**/*.md").scanSync({ cwd: ROOT });
  return ["README.md", ...[...docs].sort()];
}

/** Those of one page. */
export function blocksOf(file: string, text = readFileSync(join(ROOT, file), "utf8")): Block[] {
  return [...text.matchAll(/^```(?:ts|typescript)\b([^\n]*)\n(.*?)^```$/gms)].map(
    ({ index, 1: words, 2: code }) => ({
      file,
      line: text.slice(0, index).split("\n").length + 1,
      code: code!,
      program: /^import .*from "capsa";$/m.test(code!),
      run: !words!.split(" ").includes("no_run"),
    }),
  );
}
