/** Verbs about a sandbox that runs: nobody takes their output, or a signal ends them; and each way of starting capsa. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Capsa, sandbox } from "../../src/index.ts";
import {
  capsa,
  compile,
  MAIN,
  ownRuntimeDirectory,
  PROGRAM,
  redirected,
  sandboxesIn,
  scratch,
} from "../unit/cli/capsa.ts";

const LAUNCHER = join(MAIN, "../capsa");
const FULL = /capsa: stdout cannot be written to: ENOSPC: no space left on device, write\n$/;
const BOX = '[sandbox.box]\nmemory = "128M"\nrun = "echo begun; sleep infinity"\n';
const OTHER = '[sandbox.other]\nmemory = "128M"\n';

const home = ownRuntimeDirectory();
let directory: Awaited<ReturnType<typeof scratch>>;

beforeAll(async () => {
  await compile();
  directory = await scratch();
  await writeFile(join(directory.path, "capsa.toml"), BOX);
  await writeFile(join(directory.path, "other.toml"), OTHER);
  await writeFile(join(directory.path, "steps.toml"), `${OTHER}[[steps]]\nexec = "echo done"\n`);
  await writeFile(join(directory.path, "long.toml"), `${OTHER}[[steps]]\nexec = "echo done; sleep 1000"\n`);
  expect(await capsa(["up", "-d"], { cwd: directory.path })).toMatchObject({ exitCode: 0 });
});
afterAll(() => directory[Symbol.asyncDispose]());

describe("without a reader, or on a full disk", () => {
  const inDirectory = (to: string, line: string) =>
    redirected(to, [PROGRAM, ...line.split(" ")], { cwd: directory.path });

  test.each([
    "exec box -- seq 1 1000000000",
    "exec box -- yes",
    "exec -d box -- seq 1 100000",
    "exec box --attach 1",
    "ps",
    "ps --json",
    "ps box",
    "metrics",
    "metrics box --prometheus",
    "logs box",
    "logs -f box",
    "logs -f --json box",
    "forward box 8000",
    "expose box 8000 --json",
    "up -f steps.toml",
    "up -d -f steps.toml",
    "up -f steps.toml --json",
    "learn -f steps.toml",
    "check steps.toml --json",
    "kernel path",
  ])("of stdout: %s", async (line) => {
    const gone = await inDirectory(">&3", line);
    const full = await inDirectory(">/dev/full", line);
    expect(gone).toMatchObject({ exitCode: 141 });
    expect(full.exitCode).toBe(125);
    expect(full.stderr).toMatch(FULL);
    for (const { stderr } of [gone, full]) expect(stderr).not.toMatch(/^ +at |bunfs/m);
    expect(await sandboxesIn(home)).toHaveLength(1);
  });

  test.each([
    "exec box -- sh -c yes>&2",
    "exec box -- nosuchprogram",
    "exec nobody -- true",
    "cp capsa.toml box:/tmp/x",
    "apply",
    "discard",
    "up -f steps.toml",
    "up -d -f other.toml",
    "up -f nothing.toml",
  ])("of stderr: %s", async (line) => {
    await rm(join(home, ".told"), { force: true }); // what is told once a day is the first that nobody hears
    expect(await inDirectory("2>&3", line)).toEqual({ exitCode: 141, stdout: "", stderr: "" });
    expect(await sandboxesIn(home)).toHaveLength(1);
  });

  test("what a program prints to a full stderr is an error; what capsa says there is none", async () => {
    const full = async (line: string) => (await inDirectory("2>/dev/full", line)).exitCode;
    expect(await full("exec box -- sh -c yes>&2")).toBe(125);
    expect(await full("exec box -- nosuchprogram")).toBe(127);
    expect(await full("cp capsa.toml box:/tmp/x")).toBe(0);
  });

  test("a reader that comes late has every byte", async () => {
    expect(await inDirectory("| { sleep 0.5; wc -c; }", "exec box -- head -c 300000 /dev/zero")).toEqual({
      exitCode: 0,
      stdout: "300000\n",
      stderr: "",
    });
  });

  test("nothing of it runs on in the sandbox", async () => {
    await using vm = await Capsa.attach("box");
    await using agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
    // they end a moment after this side has
    const { exitCode } = await agent.exec("while pidof yes seq; do sleep 0.1; done", { timeoutMs: 60_000 });
    expect(exitCode).toBe(0);
  });
});

const HELLO = {
  jsonrpc: "2.0",
  id: 1,
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "test", version: "1" } },
};

test.each([
  ["exec box -- tail -f /etc/hosts", "localhost"],
  ["logs -f box", "begun"],
  ["forward box 8000", "http"],
  ["expose box 8000", "127"],
  ["mcp", "result"],
  ["up -f other.toml", "is up"],
  ["up -f long.toml", "is up"],
])("a signal ends `%s`, which leaves nothing", async (line, until) => {
  for (const [signal, exitCode] of [
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    const child = Bun.spawn(["sh", "-c", 'exec "$@" 2>&1', "sh", PROGRAM, ...line.split(" ")], {
      cwd: directory.path,
      env: process.env,
      stdin: "pipe",
      stdout: "pipe",
    });
    child.stdin.write(`${JSON.stringify(HELLO)}\n`);
    child.stdin.flush();
    let said = "";
    for await (const chunk of child.stdout) {
      said += new TextDecoder().decode(chunk);
      if (said.includes(until)) child.kill(signal);
    }
    expect([said, await child.exited]).toEqual([expect.stringContaining(until), exitCode]);
    expect(await sandboxesIn(home)).toHaveLength(1);
  }
});

test("a signal ends a command whose reader takes nothing", async () => {
  const script = 'exec 4> >(exec sleep 1000 >/dev/null 4>&-); echo $!; exec "$@" >&4';
  const command = [PROGRAM, "exec", "box", "--", "yes"];
  const child = Bun.spawn(["bash", "-c", script, "bash", ...command], { env: process.env, stdin: "ignore" });
  const reader = Number(await child.stdout.text());
  const written = async () =>
    Number(/wchar: (\d+)/.exec(await readFile(`/proc/${child.pid}/io`, "utf8"))?.[1]);
  while ((await written()) < 65_536) await Bun.sleep(20); // what a pipe holds
  child.kill("SIGTERM");
  expect(await child.exited).toBe(143);
  process.kill(reader);
});

test("each way of starting capsa starts its helpers: the monitors, the proxy of secrets, the kernel's build script", async () => {
  const file = join(directory.path, "secrets.toml");
  const key = '[sandbox.keyed.secrets.KEY]\nfrom = "env:KEY"\nhosts = ["example.org"]\n';
  const step =
    '[[steps]]\nexec = "test -n $KEY && echo there"\nexpect = { stdout = { equals = "there\\n" } }\n';
  await writeFile(file, `[sandbox.keyed]\nmemory = "128M"\nnetwork = { allow = [] }\n${key}${step}`);
  const ways = { sources: [process.execPath, MAIN], compiled: [PROGRAM], launcher: [LAUNCHER] };
  for (const [way, command] of Object.entries(ways)) {
    const run = async (...args: string[]) => {
      const env = { KEY: "a value of some length" };
      return { way, ...(await redirected("", [...command, ...args], { cwd: directory.path, env })) };
    };
    expect(await run("up", "--json", "-f", file)).toMatchObject({ way, exitCode: 0 });
    expect(await run("kernel", "path")).toMatchObject({ way, exitCode: 0 });
    expect(await run("doctor")).toMatchObject({ way, exitCode: 0 });
  }
});

test("`down` ends what it was asked to, though nobody hears of it", async () => {
  const ended = await redirected("2>&3", [PROGRAM, "down", "box", "--grace", "100ms"]);
  expect(ended).toEqual({ exitCode: 141, stdout: "", stderr: "" });
  expect(await sandboxesIn(home)).toEqual([]);
});
