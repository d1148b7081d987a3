/** Each example, run as its reader runs it. */
import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { capsa, ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");
ownRuntimeDirectory();

test("every example is run here", async () => {
  expect((await readdir(EXAMPLES)).sort()).toEqual(["ai-agent", "build", "network", "python", "sdk"]);
});

async function up(example: string) {
  return capsa(["up", "--file", join(EXAMPLES, example, "capsa.toml")]);
}

test("python: a year of readings is summed up", async () => {
  const { exitCode, stdout } = await up("python");
  expect(stdout).toMatch(/^4 passed in /m);
  expect(exitCode).toBe(0);
  const summary = await Bun.file(join(EXAMPLES, "python/output/summary.json")).json();
  const { rows, skipped, months } = summary as {
    rows: number;
    skipped: number;
    months: { readings: number }[];
  };
  // counted here as well, from the data itself
  const lines = (await Bun.file(join(EXAMPLES, "python/project/readings.csv")).text())
    .trimEnd()
    .split("\n")
    .slice(1);
  expect(rows).toBe(lines.length);
  expect(skipped).toBe(lines.filter((line) => !line.endsWith(",ok")).length);
  expect(months.reduce((sum, month) => sum + month.readings, 0)).toBe(rows - skipped);
});

test("build: a program is compiled, and runs on the host too", async () => {
  const { exitCode, stdout } = await up("build");
  expect(stdout).toMatch(/^6 passed in /m);
  expect(exitCode).toBe(0);
  const program = Bun.spawnSync([join(EXAMPLES, "build/artifacts/wordcount")], {
    stdin: Buffer.from("a b a"),
  });
  expect(program.stdout.toString()).toBe("2 a\n1 b\n");
});

test("network: one sandbox asks another by its name", async () => {
  const { exitCode, stdout } = await up("network");
  expect(stdout).toMatch(/^3 passed in /m);
  expect(exitCode).toBe(0);
});

describe("ai-agent", () => {
  const answer = () => Bun.file(join(EXAMPLES, "ai-agent/output/answer.json")).json();
  const palindromes = {
    attempts: { network: "Network is unreachable", "own source": "Read-only file system" },
  };

  test("by capsa.toml", async () => {
    const { exitCode, stdout } = await up("ai-agent");
    expect(stdout).toMatch(/^2 passed in /m);
    expect(exitCode).toBe(0);
    const { primes, attempts } = await answer();
    expect({ attempts }).toEqual(palindromes);
    expect(primes).toHaveLength(113);
    expect(primes.at(-1)).toBe(98689);
  });

  test("from TypeScript", async () => {
    const child = Bun.spawn([process.execPath, join(EXAMPLES, "ai-agent/agent.ts")], {
      env: process.env,
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    expect(stdout).toContain("113 palindromic primes");
    expect(stdout).toContain("network: Network is unreachable");
    expect(await child.exited).toBe(0);
    expect(stderr).not.toContain("rror");
  });
});

describe("templates", () => {
  test.each(["hello", "python", "build", "agent"])("%s runs as it is written", async (template) => {
    await using dir = await scratch();
    await capsa(["init", template], { cwd: dir.path });
    const { exitCode, stdout } = await capsa(["up"], { cwd: dir.path });
    expect(stdout).toMatch(/^\d passed in /m);
    expect(exitCode).toBe(0);
  });
});
