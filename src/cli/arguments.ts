/** The command line's words, which are text: Bun has put another character in place of bytes that are none. */
import { readFileSync } from "node:fs";
import { UsageError } from "./failure.ts";

/** Throws {@link UsageError} where one of `words`, this process's own, was not UTF-8. */
export function checkArguments(words: readonly string[]): void {
  const word = words.find((one) => one.includes("\ufffd"));
  if (word === undefined) return;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(readFileSync("/proc/self/cmdline"));
  } catch {
    throw new UsageError(
      `the argument ${JSON.stringify(word)} is not UTF-8, and capsa would pass on another`,
      "put what is of other bytes into a file, or into stdin",
    );
  }
}
