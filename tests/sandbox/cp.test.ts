/** `capsa cp` with a sandbox that runs. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Agent, Capsa, type RunningSandbox, sandbox } from "../../src/index.ts";
import { capsa, ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";

let vm: RunningSandbox;
let agent: Agent;
let dir: Awaited<ReturnType<typeof scratch>>;

beforeAll(async () => {
  dir = await scratch();
  vm = await Capsa.sandbox().name("box").memoryMb(128).run("/bin/sleep", ["100000"]).build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
});
afterAll(async () => {
  await agent?.close();
  await vm?.kill();
  await dir[Symbol.asyncDispose]();
});
ownRuntimeDirectory(); // it looks for what is left after the sandbox has ended

/** Each test has an empty directory on both sides. */
let cwd: string;
beforeEach(async () => {
  cwd = join(dir.path, String(Math.random()).slice(2));
  mkdirSync(cwd);
  await agent.remove("/w", { recursive: true, force: true });
  await agent.mkdir("/w");
});

const cp = (...args: string[]) => capsa(["cp", ...args], { cwd });
const inGuest = async (script: string) => (await agent.exec(script, { cwd: "/w" })).stdout;

test("a file in and out: under a name of its own, into a directory, over another", async () => {
  writeFileSync(join(cwd, "file"), "text\n", { mode: 0o640 });
  const first = await cp("file", "box:/w/new");
  expect(first).toEqual({
    exitCode: 0,
    stdout: "",
    stderr: expect.stringMatching(/^1 entry, 5 bytes copied in /),
  });
  expect((await cp("./file", "box:/w")).exitCode).toBe(0);
  expect((await cp("file", "box:w/")).exitCode).toBe(0);
  expect(await inGuest("stat -c '%n %a %u' *; cat new file")).toBe("file 640 0\nnew 640 0\ntext\ntext\n");

  expect((await cp("box:/w/new", ".")).exitCode).toBe(0);
  expect((await cp("box:/w/new", "./other")).exitCode).toBe(0);
  await agent.writeFile("/w/new", "newer\n");
  expect((await cp("box:/w/new", "other")).exitCode).toBe(0);
  expect(readFileSync(join(cwd, "new"), "utf8")).toBe("text\n");
  expect(readFileSync(join(cwd, "other"), "utf8")).toBe("newer\n");
});

test("a directory: as a new one, into one that is there, and what is in it", async () => {
  mkdirSync(join(cwd, "d/sub"), { recursive: true });
  writeFileSync(join(cwd, "d/sub/x"), "x");
  symlinkSync("sub", join(cwd, "d/link"));
  expect((await cp("d", "box:/w/new")).exitCode).toBe(0);
  expect((await cp("d", "box:/w")).exitCode).toBe(0);
  expect((await cp("d/.", "box:/w")).exitCode).toBe(0);
  expect(await inGuest("find . | sort")).toBe(
    ". ./d ./d/link ./d/sub ./d/sub/x ./link ./new ./new/link ./new/sub ./new/sub/x ./sub ./sub/x\n".replaceAll(
      " ",
      "\n",
    ),
  );
  expect((await cp("box:/w/new", "back")).exitCode).toBe(0);
  expect((await cp("box:/w/new/.", "back")).exitCode).toBe(0);
  expect((await cp("box:/w/new", "back")).exitCode).toBe(0);
  expect(readdirSync(join(cwd, "back")).sort()).toEqual(["link", "new", "sub"]);
  // a link to a directory, and with a slash the directory
  expect((await cp("box:/w/new/link", "l1")).exitCode).toBe(0);
  expect((await cp("box:/w/new/link/", "l2")).exitCode).toBe(0);
  expect(readdirSync(join(cwd, "l2"))).toEqual(["x"]);
});

test("--parents, --owner and --json", async () => {
  writeFileSync(join(cwd, "key"), "secret");
  const { exitCode, stdout } = await cp("-p", "--owner", "1000:100", "--json", "key", "box:/w/a/b/key");
  expect([exitCode, JSON.parse(stdout)]).toEqual([0, { entries: 1, bytes: 6, skipped: 0 }]);
  expect(await inGuest("stat -c '%u:%g' a/b/key")).toBe("1000:100\n");
  expect((await cp("--parents", "box:/w/a", "x/y/z")).exitCode).toBe(0);
  expect(readFileSync(join(cwd, "x/y/z/b/key"), "utf8")).toBe("secret");
});

test("what is left out is told; names that a terminal would obey are shown as text", async () => {
  await agent.exec("mkdir d; mkfifo \"d/$(printf 'a\\033b')\"; mknod d/null c 1 3", { cwd: "/w" });
  const { exitCode, stderr } = await cp("box:/w/d", "d");
  expect(exitCode).toBe(0);
  expect(stderr).toContain('/d/a\\u001bb": a fifo\n');
  expect(stderr).toContain('/d/null": a char\n');
  expect(stderr).not.toContain("\u001b");
});

describe("what is wrong", () => {
  const cases: [what: string, args: string[], exitCode: number, why: string][] = [
    ["a directory that is none", ["/etc/hosts", "box:/w/none/"], 2, "/w/none/ is no directory"],
    ["a file that is not here", ["none", "box:/w"], 1, "/none on this machine: no such file or directory"],
    ["one that is not there", ["box:/none", "."], 1, "download /none: /none: No such file or directory"],
    ["no directory there", ["/etc/hosts", "box:/w/a/b"], 1, "upload /w/a/b: /w/a/b: No such file"],
    ["no directory here", ["box:/etc/hosts", "a/b"], 1, "/a on this machine: no such file or directory"],
    ["no such sandbox", ["/etc/hosts", "none:/w"], 125, 'no sandbox "none" is running'],
  ];
  for (const [what, args, exitCode, why] of cases) {
    test(what, async () => {
      const told = await cp(...args);
      expect(told.stderr).toContain(why);
      expect(told.exitCode).toBe(exitCode);
      expect(readdirSync(cwd)).toEqual([]);
    });
  }

  test("as JSON too", async () => {
    const { exitCode, stdout } = await cp("--json", "none", "box:/w");
    expect([exitCode, JSON.parse(stdout)]).toEqual([
      1,
      { error: { code: "ENOENT", message: `${cwd}/none on this machine: no such file or directory` } },
    ]);
  });
});
