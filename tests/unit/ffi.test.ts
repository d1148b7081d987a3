/** The C test programs in tests/unit/c, built with ASan and UBSan, each run as a test of its own. */

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");
const names = [...new Bun.Glob("*.c").scanSync(join(import.meta.dir, "c"))]
  .map((file) => file.slice(0, -2))
  .sort();

describe("C", () => {
  let build = "";
  /** make's "*** [Makefile:1: ../build/check/memory] Error 1"; one about an object is about every program */
  const blames = (line: string, name: string) =>
    line.includes("***") && (line.includes(`/check/${name}]`) || !/\/check\/[^/\]]+\]/.test(line));

  beforeAll(() => {
    // -k: a file that does not compile fails its own tests only
    const make = Bun.spawnSync(["make", "-s", "-k", "-j2", "-C", "ffi", "check-programs"], {
      cwd: root,
      stdout: "pipe",
      stderr: "pipe",
    });
    if (make.exitCode !== 0) build = `${make.stdout}${make.stderr}`;
  }, 600_000);

  for (const name of names) {
    test(name, async () => {
      const program = join(root, "build/check", name);
      if (!existsSync(program) || build.split("\n").some((line) => blames(line, name))) {
        throw new Error(`${name} was not built:\n${build}`);
      }
      const run = Bun.spawn([program], { cwd: root, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
      const [code, stdout, stderr] = await Promise.all([run.exited, run.stdout.text(), run.stderr.text()]);
      if (code !== 0) {
        throw new Error(`${name} ended with ${run.signalCode ?? `exit code ${code}`}\n${stdout}${stderr}`);
      }
      for (const [, what, why] of stdout.matchAll(/^ok \d+ - (.+) # SKIP (.+)$/gm))
        console.warn(`C: ${name}: "${what}" is skipped: ${why}`);
      expect(stdout).toMatch(/^1\.\.[1-9]\d*$/m);
    }, 300_000);
  }
});
