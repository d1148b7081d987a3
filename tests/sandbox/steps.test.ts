/** Steps in a sandbox: the examples of the documentation, and what `wait` waits for. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Agent } from "../../src/agent/api.ts";
import { parseConfig } from "../../src/config/load.ts";
import { Capsa, type RunningSandbox, sandbox } from "../../src/index.ts";
import { readEventLog } from "../../src/sandbox/log.ts";
import type { StepResult } from "../../src/steps/api.ts";
import { runSteps } from "../../src/steps/run.ts";
import { ROOT } from "../docs/blocks.ts";
import { ownState } from "../unit/changes/staged.ts";
import { capsa, ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";

/** Of all tests but the first; its end comes before that of the directory it is registered in. */
let vm: RunningSandbox;
let agent: Agent;
afterAll(async () => {
  await agent?.close();
  await vm?.kill();
});

ownRuntimeDirectory();
ownState();

test("the examples of docs/steps.md run, one after the other", async () => {
  await using dir = await scratch();
  mkdirSync(join(dir.path, "generated"));
  cpSync(join(ROOT, "examples/python/project"), join(dir.path, "examples/python/project"), {
    recursive: true,
  });
  const page = readFileSync(join(ROOT, "docs/steps.md"), "utf8");
  const examples = [...page.matchAll(/^```toml\n(.*?)^```$/gms)].map(([, toml]) => toml!);
  expect(examples.length).toBeGreaterThan(3);
  const share =
    '[[sandbox.service.shares]]\nhost = "generated"\nguest = "/generated"\nmode = "transaction"\n';
  const box = `[sandbox.service]\nmemory = "128M"\nrun = "while true; do date; sleep 1; done"\n${share}`;
  writeFileSync(join(dir.path, "capsa.toml"), box + examples.join(""));
  const { exitCode, stdout } = await capsa(["up", "--tap"], { cwd: dir.path });
  expect(stdout).not.toMatch(/^not ok/m);
  expect(stdout).toMatch(/^1\.\.\d\d$/m);
  expect(exitCode).toBe(0);
});

beforeAll(async () => {
  const main = "echo begun; until test -e /tmp/go; do sleep 0.1; done; echo 'ready at 80'; exec sleep 1000";
  vm = await Capsa.sandbox().memoryMb(128).run("/bin/sh", ["-c", main]).build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
});

async function wait(
  condition: string,
  signal?: AbortSignal,
  timeout = "300s",
  every = "20ms",
): Promise<StepResult> {
  const toml = `[sandbox.box]\nrun = "x"\n[[steps]]\nwait = ${condition}\ntimeout = "${timeout}"\nevery = "${every}"`;
  const { steps } = parseConfig(toml, "/capsa.toml");
  const printed = async () => readEventLog(vm.runtimeDir).output;
  const agents = new Map([["box", agent]]);
  return (await runSteps(steps, agents, { printed, ...(signal && { signal }) })).steps[0]!;
}

test.each([
  ["a port", "{ port = 8000 }", "exec httpd -f -p 8000"],
  ["a port of IPv6", "{ port = 8001 }", "exec httpd -f -p [::1]:8001"],
  ["a file", '{ file = "/tmp/ready" }', ": >/tmp/ready"],
  ["a line", "{ line = '^ready at \\d+$' }", ": >/tmp/go"],
  ["a command", '{ exec = "test -e /tmp/done" }', ": >/tmp/done"],
])("%s is waited for until it is there, and no longer", async (_, condition, become) => {
  const before = await wait(condition, undefined, "100ms");
  expect(before.status).toBe("failed");
  const waiting = wait(condition);
  const { id } = await agent.spawn(become, { detach: true });
  expect(await waiting).toMatchObject({ status: "passed", mismatches: [] });
  await using child = await agent.attachProcess(id);
  child.kill();
});

test.each([
  ["{ port = 9 }", "port 9", /^no program listens at (any port|it; there is one at [\d, ]+)/],
  ['{ file = "/tmp/never" }', "/tmp/never", /^does not exist/],
  ["{ line = 'never$' }", "a line that matches /never$/", /^it printed last "(begun|ready at 80)"/],
  ['{ exec = "echo not yet >&2; exit 3" }', "success of echo not yet >&2; exit 3", /^exit code 3/],
  ['{ exec = ["none"] }', "success of none", /none: not found in PATH/],
  ['{ exec = "sleep 1000" }', "success of sleep 1000", /^the first try did not come to its end$/],
])("a wait for %s runs out of time and says what the last try said", async (condition, subject, seen) => {
  const result = await wait(condition, undefined, "300ms");
  expect(result).toMatchObject({
    status: "failed",
    mismatches: [{ subject, expected: "within 300 ms", seen: expect.stringMatching(seen) }],
  });
  if (condition.includes("exit 3"))
    expect(result).toMatchObject({ exitCode: 3, output: { stdout: "", stderr: "not yet\n" } });
});

test("a pause beyond what a timer takes is none that is over at once", async () => {
  const result = await wait('{ file = "/tmp/never" }', undefined, "300ms", "1000h");
  expect(result.mismatches[0]).toMatchObject({ seen: "does not exist" }); // one try
});

test("the user's signal ends a wait, whatever it waits for", async () => {
  for (const condition of ['{ file = "/tmp/never" }', '{ exec = "sleep 1000" }', "{ line = 'never' }"]) {
    const controller = new AbortController();
    const waiting = wait(condition, controller.signal);
    await agent.ping();
    controller.abort(new Error("Ctrl-C"));
    expect(waiting).rejects.toThrow("Ctrl-C");
  }
});
