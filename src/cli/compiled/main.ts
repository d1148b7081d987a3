/** Where the compiled command line begins: it makes way for the sources when they have changed since. */
import { readFileSync } from "node:fs";
import { BUN, packagePath } from "../../host/installation.ts";
import { become } from "../../host/libc.ts";
import { PROXY } from "../../secrets/proxy/talk.ts";
import { isFresh } from "./sources.ts";

/** A command that takes longer than this is worth compiling (see build.ts). */
const SHORT_MS = 1000;

if (process.argv[2] === PROXY) {
  setTimeout(() => Bun.unsafe.setJITPolicy(1), SHORT_MS).unref();
  await import("../../secrets/proxy/main.ts"); // of the program that has started it, which was fresh
} else if (isFresh(packagePath())) {
  setTimeout(() => Bun.unsafe.setJITPolicy(1), SHORT_MS).unref();
  await import("../main.ts");
} else {
  // as they were given: `process.argv` has another character in place of bytes that are no text
  const given = readFileSync("/proc/self/cmdline", "latin1").split("\0").slice(1, -1);
  become(BUN, [BUN, "src/cli/main.ts", ...given.map((word) => Buffer.from(word, "latin1"))]);
  console.error(
    `capsa: its sources have changed since it was compiled, and ${BUN} cannot be run\n` +
      "  run `make setup` in capsa's directory",
  );
  process.exit(125);
}
