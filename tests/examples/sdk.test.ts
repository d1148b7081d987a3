/** The programs of examples/sdk, each run as its reader runs it, and as short as they are said to be. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ownRuntimeDirectory, sandboxesIn } from "../unit/cli/capsa.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");
const runtime = ownRuntimeDirectory();
const top = mkdtempSync(join(tmpdir(), "capsa-sdk-examples-"));
afterAll(() => rmSync(top, { recursive: true }));

/** Non-empty lines that each may have. */
const LINES = {
  "minimal.ts": 3,
  "project.ts": 6,
  "server.test.ts": 14,
  "interpreter.ts": 25,
  "repository.ts": 35,
};
type Example = keyof typeof LINES;

test("each is as short as it can be", async () => {
  const files = [...new Bun.Glob("*").scanSync({ cwd: join(EXAMPLES, "sdk") })].sort();
  expect(files).toEqual(Object.keys(LINES).sort());
  for (const [name, most] of Object.entries(LINES)) {
    const lines = readFileSync(join(EXAMPLES, "sdk", name), "utf8").split("\n");
    expect(lines.filter((line) => line.trim() !== "").length).toBeLessThanOrEqual(most);
  }
});

function start(name: Example, args: readonly string[] = [], env: Record<string, string> = {}) {
  const program = join(EXAMPLES, "sdk", name);
  const command = name.endsWith(".test.ts") ? ["test", "--timeout", "120000", program] : [program];
  return Bun.spawn([process.execPath, ...command, ...args], {
    env: { ...process.env, ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function run(name: Example, ...args: string[]) {
  const child = start(name, args);
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { stdout, stderr, exitCode: await child.exited };
}

test("minimal: three lines to the first result", async () => {
  expect(await run("minimal.ts")).toMatchObject({ stdout: "42\n\n", exitCode: 0 });
});

test("project: the steps of a file, each with what became of it", async () => {
  const { stdout, exitCode } = await run("project.ts", join(EXAMPLES, "network/capsa.toml"));
  expect(stdout).toMatch(/^passed .*\npassed .*\npassed .*\n3 passed, 0 failed\n$/);
  expect(exitCode).toBe(0);
});

test("server: a test beside a server", async () => {
  const { stderr, exitCode } = await run("server.test.ts");
  expect(stderr).toContain(" 1 pass\n 0 fail\n");
  expect(exitCode).toBe(0);
});

test("repository: what makes the tests pass is shown and applied, and nothing else", async () => {
  const { stdout, exitCode } = await run("repository.ts", top);
  expect(stdout).toContain("-    return a - b\n+    return a + b\n");
  expect(stdout).toContain(`1 applied to ${top}, 0 refused\n`);
  expect(exitCode).toBe(0);
  expect([...new Bun.Glob("**").scanSync({ cwd: top })]).toEqual(["sum.py"]);
});

test("interpreter: output as it comes, limits, and the files that were made", async () => {
  const child = start("interpreter.ts", [], { PORT: "0" });
  try {
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const [, url] = /listening on (\S+)/.exec((await reader.read()).value!)!;
    const post = async (code: string) => {
      const said = await (await fetch(url!, { method: "POST", body: code })).text();
      const events = said
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line));
      const printed = events.map(({ stdout = "" }) => stdout).join("");
      return { events, printed, end: events.find(({ exitCode }) => exitCode !== undefined) };
    };
    const [fine, endless, hungry] = await Promise.all([
      post(
        "import sys; print('häppy'); print('no', file=sys.stderr); open('a.bin', 'wb').write(bytes([0, 255]))",
      ),
      post("while True: print('x' * 1000)"),
      post("x = bytearray(400 << 20)"),
    ]);
    expect(fine).toMatchObject({ printed: "häppy\nno\n", end: { exitCode: 0, truncated: false } });
    expect(fine.events.at(-1)).toEqual({ name: "a.bin", base64: "AP8=" });
    expect(endless.end).toMatchObject({ exitCode: null, truncated: true });
    expect(endless.printed).toHaveLength(65_536);
    expect(hungry.end).toMatchObject({ oomKilled: true });
  } finally {
    child.kill("SIGTERM");
    await child.exited;
  }
  while ((await sandboxesIn(runtime)).length > 0) await Bun.sleep(20); // they end with it, a moment later
});
