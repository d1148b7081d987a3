import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pico from "picocolors";
import { AgentError, GuestLostError, SandboxEndedError } from "../../../src/errors/errors.ts";
import type { StepResult } from "../../../src/steps/api.ts";
import type { AssertStep } from "../../../src/steps/assert.ts";
import type { ExecStep } from "../../../src/steps/exec.ts";
import type { Step } from "../../../src/steps/index.ts";
import { COMPARABLE } from "../../../src/steps/match.ts";
import { jsonReport } from "../../../src/steps/report/json.ts";
import { tapReport } from "../../../src/steps/report/tap.ts";
import { describeRun, describeStep } from "../../../src/steps/report/terminal.ts";
import { type RunOptions, runSteps } from "../../../src/steps/run.ts";
import type { WriteStep } from "../../../src/steps/write.ts";
import { type FakeAgent, fakeAgent, type Program } from "./fake_agent.ts";

const common = { sandbox: "box", timeoutMs: 5000 };

function exec(
  program: string,
  expectation: Partial<ExecStep["expect"]> = {},
  more: Partial<ExecStep> = {},
): ExecStep {
  const expect = { exitCode: 0, ...expectation };
  return { verb: "exec", name: program, ...common, argv: ["run", program], env: {}, expect, ...more };
}
function write(file: string, contents: WriteStep["contents"]): WriteStep {
  return { verb: "write", name: `write ${file}`, ...common, file, contents, mode: 0o640 };
}
function assert(file: string, more: Partial<AssertStep> = {}): AssertStep {
  return { verb: "assert", name: `assert ${file}`, ...common, file, exists: true, ...more };
}

async function run(
  steps: Step[],
  programs: Record<string, Program> = {},
  options: RunOptions = {},
  agent = fakeAgent(programs),
) {
  return runSteps(steps, new Map([["box", agent]]), options);
}

async function only(
  step: Step,
  programs: Record<string, Program> = {},
  agent?: FakeAgent,
): Promise<StepResult> {
  return (await run([step], programs, {}, agent)).steps[0]!;
}

describe("exec", () => {
  test("passes on the expected exit code and output", async () => {
    const result = await only(
      exec("p", { exitCode: 3, stdout: { contains: ["out"] }, stderr: { equals: "err" } }),
      {
        p: { stdout: "output", stderr: "err", exitCode: 3 },
      },
    );
    expect(result).toMatchObject({ status: "passed", exitCode: 3, mismatches: [] });
  });

  test("hands everything to the agent", async () => {
    const agent = fakeAgent();
    await only(exec("p", {}, { env: { A: "1" }, cwd: "/w", stdin: "in", timeoutMs: 77 }), {}, agent);
    expect(agent.execs[0]).toMatchObject({
      argv: ["run", "p"],
      options: { env: { A: "1" }, cwd: "/w", stdin: "in", timeoutMs: 77 },
    });
  });

  test("fails on another exit code", async () => {
    const result = await only(exec("p"), { p: { exitCode: 4, stderr: "why\n" } });
    expect(result).toMatchObject({
      status: "failed",
      exitCode: 4,
      mismatches: [{ subject: "exit code", expected: "0", seen: "4" }],
      output: { stdout: "", stderr: "why\n" },
    });
  });

  test("counts a signal as 128 and its number", async () => {
    expect(await only(exec("p", { exitCode: 137 }), { p: { signal: "SIGKILL" } })).toMatchObject({
      status: "passed",
    });
    expect(await only(exec("p"), { p: { signal: "SIGSEGV" } })).toMatchObject({
      mismatches: [{ expected: "0", seen: "ended by SIGSEGV (139)" }],
    });
  });

  test("takes any exit code where asked, but not running out of time", async () => {
    expect(await only(exec("p", { exitCode: "any" }), { p: { exitCode: 9 } })).toMatchObject({
      status: "passed",
    });
    expect(
      await only(exec("p", { exitCode: "any" }), { p: { signal: "SIGKILL", timedOut: true } }),
    ).toMatchObject({
      status: "failed",
      mismatches: [{ subject: "time", expected: "ends within 5.00 s" }],
    });
  });

  test("compares output that came in pieces, cut within a character", async () => {
    const [a, b] = [new TextEncoder().encode("é").slice(0, 1), new TextEncoder().encode("é").slice(1)];
    expect(await only(exec("p", { stdout: { equals: "é" } }), { p: { stdout: [a, b] } })).toMatchObject({
      status: "passed",
    });
  });

  test("refuses to compare more than it can keep", async () => {
    const piece = new Uint8Array(COMPARABLE / 4).fill(0x61);
    const stdout = [piece, piece, piece, piece, piece];
    expect(await only(exec("p", { stdout: { contains: ["a"] } }), { p: { stdout } })).toMatchObject({
      status: "failed",
      mismatches: [{ subject: "stdout", expected: "at most 16 MiB to compare" }],
    });
    expect(await only(exec("p"), { p: { stdout } })).toMatchObject({ status: "passed" });
  });

  test("fails where the program cannot be started", async () => {
    const error = new AgentError("ENOENT", "p: not found", { op: "exec", path: "p" });
    expect(await only(exec("p"), { p: { error } })).toMatchObject({
      status: "failed",
      error: { code: "ENOENT", message: "p: not found" },
    });
  });

  test("fails where the agent does not answer in time", async () => {
    const began = performance.now();
    const result = await only(assert("/hangs", { timeoutMs: 50 }));
    expect(result).toMatchObject({ status: "failed", error: { code: "ETIMEDOUT" } });
    expect(performance.now() - began).toBeLessThan(2000);
  });
});

describe("write and assert", () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "capsa-steps-"));
    await writeFile(join(dir, "host.bin"), new Uint8Array([0, 255, 1]));
  });
  afterAll(() => rm(dir, { recursive: true }));

  test("a text and a file of the host are written with their mode", async () => {
    const agent = fakeAgent();
    const { passed } = await run(
      [write("/a", { text: "é" }), write("/b", { from: join(dir, "host.bin") })],
      {},
      {},
      agent,
    );
    expect(passed).toBe(2);
    expect(agent.files.get("/a")).toEqual({ contents: new TextEncoder().encode("é"), mode: 0o640 });
    expect(agent.files.get("/b")?.contents).toEqual(new Uint8Array([0, 255, 1]));
  });

  test("a missing file of the host fails the step", async () => {
    expect(await only(write("/a", { from: join(dir, "none") }))).toMatchObject({
      status: "failed",
      error: { code: "ENOENT", message: expect.stringContaining("on the host") },
    });
  });

  test("a file is as expected", async () => {
    const { passed } = await run([
      assert("/a", { exists: false }),
      write("/a", { text: "x\ny\n" }),
      assert("/a"),
      assert("/a", { match: { equals: "x\ny\n", contains: ["x"], matches: /^y$/mu } }),
    ]);
    expect(passed).toBe(4);
  });

  test("a file is not as expected", async () => {
    const { steps } = await run(
      [
        write("/a", { text: "x" }),
        assert("/a", { match: { equals: "y" } }),
        assert("/a", { exists: false }),
        assert("/b"),
      ],
      {},
      { keepGoing: true },
    );
    expect(steps.slice(1).map(({ mismatches }) => mismatches)).toEqual([
      [{ subject: "/a", expected: 'equals "y"', seen: '"x"' }],
      [{ subject: "/a", expected: "does not exist", seen: "exists" }],
      [{ subject: "/b", expected: "exists", seen: "does not exist" }],
    ]);
  });

  test("what has changed is all that is expected, in any order, and nothing else", async () => {
    const step = (...changes: string[]): AssertStep => ({
      verb: "assert",
      name: "changes",
      ...common,
      changes,
    });
    const changed = async () => [
      { kind: "created", path: "/p/a", type: "file" } as const,
      { kind: "renamed", path: "/p/c", from: "/p/b", type: "file" } as const,
    ];
    const { steps } = await run(
      [step("renamed /p/b to /p/c", "created /p/a"), step("created /p/a"), step("deleted /p/d"), step()],
      {},
      { keepGoing: true, changes: changed },
    );
    const seen = '"created /p/a", "renamed /p/b to /p/c"';
    expect(steps.map(({ mismatches }) => mismatches)).toEqual([
      [],
      [
        {
          subject: "changes",
          expected: '"created /p/a"',
          seen,
          hint: 'not expected: "renamed /p/b to /p/c"',
        },
      ],
      [
        {
          subject: "changes",
          expected: '"deleted /p/d"',
          seen,
          hint: `missing: "deleted /p/d"; not expected: ${seen}`,
        },
      ],
      [{ subject: "changes", expected: "nothing", seen }],
    ]);
  });

  test("a file that is too large is not compared", async () => {
    const agent = fakeAgent();
    agent.files.set("/big", { contents: new Uint8Array(COMPARABLE + 5), mode: 0o644 });
    expect(await only(assert("/big", { match: { contains: ["x"] } }), {}, agent)).toMatchObject({
      mismatches: [{ expected: "at most 16 MiB to compare", seen: "more" }],
    });
  });
});

describe("a run", () => {
  const bad = { bad: { exitCode: 1 } };

  test("stops at the first failure and says what it skipped", async () => {
    const agent = fakeAgent(bad);
    const result = await run([exec("a"), exec("bad"), exec("c"), exec("d")], bad, {}, agent);
    expect(result.steps.map(({ status }) => status)).toEqual(["passed", "failed", "skipped", "skipped"]);
    expect(result).toMatchObject({ passed: 1, failed: 1, skipped: 2 });
    expect(agent.execs).toHaveLength(2);
  });

  test("goes on where asked", async () => {
    const result = await run([exec("bad"), exec("b"), exec("bad")], bad, { keepGoing: true });
    expect(result).toMatchObject({ passed: 1, failed: 2, skipped: 0 });
  });

  test.each([
    ["GUEST_LOST", new GuestLostError("it hung up")],
    ["SANDBOX_ENDED", new SandboxEndedError("ttl")],
  ])("stops when the sandbox is gone, whatever was asked (%s)", async (code, error) => {
    const result = await run([exec("dies"), exec("b")], { dies: { error } }, { keepGoing: true });
    expect(result.steps.map(({ status }) => status)).toEqual(["failed", "skipped"]);
    expect(result.steps[0]?.error?.code).toBe(code);
  });

  test("ends with the reason it is aborted for, in the middle of a step and between two", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const running = run([exec("hangs")], { hangs: { hangs: true } }, { signal: controller.signal });
    controller.abort(reason);
    expect(running).rejects.toBe(reason);
    expect(run([exec("a")], {}, { signal: controller.signal })).rejects.toBe(reason);
  });

  test("takes each step to its own sandbox", async () => {
    const [a, b] = [fakeAgent(), fakeAgent()];
    const agents = new Map([
      ["a", a],
      ["b", b],
    ]);
    await runSteps(
      [exec("1", {}, { sandbox: "a" }), exec("2", {}, { sandbox: "b" }), exec("3", {}, { sandbox: "a" })],
      agents,
    );
    expect(a.execs.map(({ argv }) => argv[1])).toEqual(["1", "3"]);
    expect(b.execs.map(({ argv }) => argv[1])).toEqual(["2"]);
  });

  test("tells what goes on", async () => {
    const told: string[] = [];
    await run(
      [exec("a"), exec("bad"), exec("c")],
      { ...bad, a: { stdout: "hi", stderr: "ho" } },
      {
        onStepStart: ({ name }, index) => told.push(`start ${index} ${name}`),
        onOutput: ({ name }, stream, chunk) =>
          chunk.length > 0 && told.push(`${name} ${stream} ${new TextDecoder().decode(chunk)}`),
        onStep: ({ step, status }, index) => told.push(`end ${index} ${step.name} ${status}`),
      },
    );
    expect(told).toEqual([
      "start 0 a",
      "a stdout hi",
      "a stderr ho",
      "end 0 a passed",
      "start 1 bad",
      "end 1 bad failed",
      "end 2 c skipped",
    ]);
  });
});

describe("reports", () => {
  const programs = { bad: { exitCode: 1, stdout: "one\ntwo \x1b[31mred\n" } };
  const steps = [exec("good #1"), exec("bad", { stdout: { contains: ["three"] } }, { line: 12 }), exec("c")];

  test("TAP counts skipped steps as ok and puts what is known of a failure in YAML", async () => {
    const report = tapReport(await run(steps, programs));
    expect(report.split("\n").slice(0, 6)).toEqual([
      "TAP version 14",
      "1..3",
      "ok 1 - good \\#1",
      "not ok 2 - bad",
      "  ---",
      '  sandbox: "box"',
    ]);
    expect(report).toContain('  mismatches: [{"subject":"exit code","expected":"0","seen":"1"},');
    expect(report).toContain(
      '  stdout: "one\\ntwo \\u001b[31mred\\n"\n  ...\nok 3 - c # SKIP an earlier step failed\n',
    );
  });

  test("JSON has every step in order", async () => {
    const report = JSON.parse(JSON.stringify(jsonReport(await run(steps, programs))));
    expect(report).toMatchObject({ passed: 1, failed: 1, skipped: 1 });
    expect(report.steps.map((step: { name: string; status: string }) => [step.name, step.status])).toEqual([
      ["good #1", "passed"],
      ["bad", "failed"],
      ["c", "skipped"],
    ]);
    expect(report.steps[1]).toMatchObject({ verb: "exec", line: 12, exitCode: 1, mismatches: [{}, {}] });
  });

  test("a terminal shows what was expected, what was seen and the output, harmlessly", async () => {
    const result = await run(steps, programs);
    const plain = pico.createColors(false);
    const lines = result.steps.map((step) => describeStep(step, plain, "capsa.toml"));
    expect(lines[0]).toMatch(/^✓ good #1 {2}\d+ ms$/);
    expect(lines[1]).toContain("    capsa.toml:12\n    exit code\n      expected  0\n      seen      1\n");
    expect(lines[1]).toContain("    stdout:\n      one\n      two \\x1b[31mred");
    expect(lines[2]).toBe("- c  skipped");
    expect(describeRun(result, plain)).toMatch(/^1 passed, 1 failed, 1 skipped in \d+ ms$/);
    expect(describeStep(result.steps[0]!, pico.createColors(true))).toContain("\x1b[32m✓");
  });
});
