/**
 * Every libFuzzer program of the project, run for FUZZ_SECONDS (5 by default) each, FUZZ_AT_ONCE (2) at a time, from its
 * seeds in tests/fuzz/seeds/NAME.tar.xz (tests/fuzz/keep adds to them). An input that fails is kept as
 * build/fuzz/crash-NAME.
 */

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");
const programs = join(root, "build/fuzz");
const seconds = Number(process.env.FUZZ_SECONDS ?? 5);
const atOnce = Number(process.env.FUZZ_AT_ONCE ?? 2);

/** Names of the fuzzers whose sources are in this folder. */
function namesIn(folder: string): string[] {
  const path = join(import.meta.dir, folder);
  if (!existsSync(path)) return [];
  return readdirSync(path)
    .filter((file) => file.endsWith(".c"))
    .map((file) => file.slice(0, -2))
    .sort();
}

/** The VMM's fuzzers and the guest's: which make builds them. */
const suites = [
  { make: "ffi", names: namesIn("c") },
  { make: "guest", names: namesIn("c-guest") },
].filter((suite) => suite.names.length > 0);

interface Outcome {
  code: number;
  log: string;
}

/** Build with -k, so that a fuzzer that does not compile fails alone; returns what make said about failures. */
function build(folder: string): string {
  const make = Bun.spawnSync(["make", "-s", "-k", "-j2", "-C", folder, "fuzz"], {
    cwd: root,
    stdout: "pipe",
    stderr: "pipe",
  });
  return make.exitCode === 0 ? "" : `${make.stdout}${make.stderr}`;
}

/** One fuzzer in a directory of its own, which goes with all it leaves there. */
async function fuzz(name: string): Promise<Outcome> {
  const work = await mkdtemp(join(tmpdir(), `capsa-fuzz-${name}-`));
  try {
    const corpus = join(work, "corpus");
    await mkdir(corpus);
    const seeds = join(import.meta.dir, "seeds", `${name}.tar.xz`);
    if (existsSync(seeds)) {
      const { exitCode, stderr } = Bun.spawnSync(["tar", "-xJf", seeds, "-C", corpus], { stderr: "pipe" });
      if (exitCode !== 0) throw new Error(`${seeds}: ${stderr}`);
    }
    const crash = join(programs, `crash-${name}`);
    await rm(crash, { force: true });
    const run = Bun.spawn(
      [
        join(programs, name),
        corpus,
        `-max_total_time=${seconds}`,
        "-rss_limit_mb=2048",
        "-timeout=20",
        "-print_final_stats=1",
        `-exact_artifact_path=${crash}`,
      ],
      { cwd: work, stdin: "ignore", stdout: "ignore", stderr: "pipe" },
    );
    const [code, log] = await Promise.all([run.exited, run.stderr.text()]);
    return { code, log };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

if (!Bun.which("clang")) {
  test.skip("fuzzers: clang is missing; install it with `apt-get install clang libclang-rt-14-dev`", () => {});
} else {
  describe("fuzz", () => {
    const names = suites.flatMap((suite) => suite.names);
    const failures = new Map<string, string>();
    const outcomes = new Map(names.map((name) => [name, Promise.withResolvers<Outcome>()]));

    beforeAll(() => {
      for (const suite of suites) {
        const failure = build(suite.make);
        for (const name of suite.names) failures.set(name, failure);
      }
      const waiting = [...names];
      for (let i = 0; i < atOnce; i++) {
        void (async () => {
          for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
            const { resolve, reject } = outcomes.get(name)!;
            if (existsSync(join(programs, name))) await fuzz(name).then(resolve, reject);
            else resolve({ code: -1, log: `not built:\n${failures.get(name)}` });
          }
        })();
      }
    }, 900_000);

    for (const name of names) {
      test(
        name,
        async () => {
          const { code, log } = await outcomes.get(name)!.promise;
          if (code !== 0) throw new Error(`${name} failed (exit code ${code})\n${log.slice(-8000)}`);
          const runs = Number(/stat::number_of_executed_units:\s*(\d+)/.exec(log)?.[1] ?? 0);
          expect(runs).toBeGreaterThan(0);
        },
        (seconds + 60) * 1000 * names.length,
      );
    }
  });
}
