/** Transactional shares: a guest writes, the shared directory stays as it is, and somebody decides. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  type Agent,
  Capsa,
  MountMode,
  pendingChanges,
  type RunningSandbox,
  sandbox,
} from "../../src/index.ts";
import { capableDirectory } from "../unit/changes/staged.ts";
import { capsa, ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";

const name = `changes-${process.pid.toString(36)}`;
ownRuntimeDirectory();
let place: { path: string } & AsyncDisposable;
let project: string;
let state: string;
let vm: RunningSandbox;
let agent: Agent;

beforeAll(async () => {
  place = await scratch();
  state = capableDirectory();
  process.env.XDG_STATE_HOME = state;
  project = join(place.path, "project");
  for (const path of ["src", "tree/a/b", "old"]) mkdirSync(join(project, path), { recursive: true });
  writeFileSync(join(project, "src/main.c"), "int main(void)\n{\n\treturn 1;\n}\n");
  writeFileSync(join(project, "src/moved.c"), "to be moved\n");
  writeFileSync(join(project, "tool"), "#!/bin/sh\n");
  writeFileSync(join(project, "tree/a/b/c"), "c");
  writeFileSync(join(project, "old/file"), "f");
  writeFileSync(join(project, "note"), "of this machine\n");
  symlinkSync("note", join(project, "link"));
  vm = await Capsa.sandbox()
    .name(name)
    .memoryMb(256)
    .share(project, "/project", { mode: MountMode.Transaction, protect: ["./old//other"] })
    .run("/bin/sleep", ["infinity"])
    .build({ keepChanges: true });
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
}, 60_000);
afterAll(async () => {
  await vm?.kill();
  delete process.env.XDG_STATE_HOME;
  rmSync(state, { recursive: true, force: true });
  await place?.[Symbol.asyncDispose]();
});

const kinds = async () => (await vm.changes()).map(({ kind, path }) => `${kind} ${path}`);

test("what a guest has only read is no change, nor what it has put back", async () => {
  await agent.exec(
    "cat src/main.c; ls -R .; mv note x; mv x note; touch tool; chmod 700 tool; chmod 644 tool; mkdir d; rmdir d",
    {
      cwd: "/project",
    },
  );
  expect(await vm.changes()).toEqual([]);
});

test("the guest sees what it does, this machine sees nothing, and the changes tell it", async () => {
  const script = [
    "sed -i 's/return 1/return 0/' src/main.c",
    "mv src/moved.c moved.c",
    "chmod 755 tool",
    "rm -r tree",
    "rm -r old; mkdir old; echo new >old/other",
    "ln -snf /etc/passwd link; ln -s src/main.c second",
    "mkfifo pipe; mknod null c 1 3 2>/dev/null; cp /bin/busybox big; chmod 4755 big",
    "rm note",
  ];
  const { exitCode, stderr } = await agent.exec(
    `set -e; ${script.join("\n").replace("2>/dev/null", "2>/dev/null || true")}`,
    {
      cwd: "/project",
    },
  );
  expect([exitCode, stderr]).toEqual([0, ""]);
  const guest = await agent.exec("ls; cat src/main.c old/*; test ! -e tree", { cwd: "/project" });
  expect(guest).toMatchObject({
    exitCode: 0,
    stdout: "big\nlink\nmoved.c\nold\npipe\nsecond\nsrc\ntool\nint main(void)\n{\n\treturn 0;\n}\nnew\n",
  });
  expect(readdirSync(project).sort()).toEqual(["link", "note", "old", "src", "tool", "tree"]);
  expect(readFileSync(join(project, "src/main.c"), "utf8")).toContain("return 1");
  expect(await kinds()).toEqual([
    "created /project/big",
    "modified /project/link",
    "renamed /project/moved.c",
    "deleted /project/note",
    "deleted /project/old/file",
    "created /project/old/other",
    "created /project/second",
    "modified /project/src/main.c",
    "mode /project/tool",
    "deleted /project/tree",
  ]);
  const marked = (await vm.changes()).filter(({ mayRun }) => mayRun !== undefined);
  expect(marked).toMatchObject([{ path: "/project/old/other", mayRun: "`protect` names it" }]);
});

test("the difference, for people, programs and patch(1)", async () => {
  const shown = await vm.diff(["/project/src", "/project/big"]);
  expect(shown).toMatch(/^created \/project\/big \(\d+ bytes, executable\): larger than 1 MiB, not shown\n/);
  expect(shown).toEndWith(
    "modified /project/src/main.c\n--- a/project/src/main.c\n+++ b/project/src/main.c\n@@ -1,4 +1,4 @@\n" +
      " int main(void)\n {\n-\treturn 1;\n+\treturn 0;\n }\n",
  );
  const all = await capsa(["diff", name, "--summary"]);
  expect(all.stdout).toContain("mode /project/tool (0644 to 0755)\n");
  expect(all.stdout).toContain("modified /project/link (a link to /etc/passwd)\n");
});

test("some are applied while the guest runs, which goes on; what both have changed is refused", async () => {
  writeFileSync(join(project, "note"), "changed meanwhile\n");
  expect(await vm.apply(["/project/note", "/project/big", "/project/tree"])).toMatchObject({
    applied: [{ path: "/project/big" }, { path: "/project/tree" }],
    refused: [{ path: "/project/note", conflict: expect.stringContaining("this machine has changed it") }],
  });
  expect(lstatSync(join(project, "big")).mode & 0o7777).toBe(0o755); // no set-user-id
  expect(readdirSync(project)).not.toContain("tree");
  await vm.discard(["/project/note", "/project/second"]);
  await agent.exec("echo more >>big; test ! -e note; echo x >late", { cwd: "/project" });
  expect(await kinds()).toEqual([
    "modified /project/big",
    "created /project/late",
    "modified /project/link",
    "renamed /project/moved.c",
    "deleted /project/old/file",
    "created /project/old/other",
    "modified /project/src/main.c",
    "mode /project/tool",
  ]);
});

test("the changes outlive the sandbox, are told of, and end when they are settled", async () => {
  const directory = join(state, "capsa/changes", vm.id);
  await vm.stop({ graceMs: 1000 });
  expect(await vm.changes()).toHaveLength(8);
  expect(await pendingChanges()).toMatchObject([{ id: vm.id, name, directory }]);
  const { stderr } = await capsa(["ps"]);
  expect(stderr).toContain(`${name}: 8 changes in ${directory}; capsa diff ${name}, then`);
  await vm.apply(["/project/link", "/project/moved.c"]);
  expect(readlinkSync(join(project, "link"))).toBe("/etc/passwd");
  expect(readdirSync(join(project, "src"))).toEqual(["main.c"]);
  expect(await vm.discard()).toHaveLength(6);
  expect(await vm.changes()).toEqual([]);
  expect(readdirSync(join(state, "capsa/changes"))).toEqual([]);
});

test("steps assert on all that has changed, and what an `up` leaves is told of", async () => {
  const file = join(place.path, "capsa.toml");
  writeFileSync(
    file,
    `[sandbox.${name}]
memory = "256M"
shares = [{ host = "./project", guest = "/project", mode = "transaction" }]
[[steps]]
exec = "echo out >/project/out.txt; rm /project/note"
[[steps]]
assert = { changes = ["deleted /project/note", "created /project/out.txt"] }
[[steps]]
assert = { changes = [] }`,
  );
  const up = await capsa(["up", "-f", file]);
  expect(up.exitCode).toBe(1);
  expect(up.stdout).toContain(
    'changes\n      expected  nothing\n      seen      "deleted /project/note", "created /project/out.txt"\n',
  );
  expect(up.stdout).toContain("2 passed, 1 failed");
  expect(up.stderr).toContain(`${name}: 2 changes in `);
  const [left] = await pendingChanges();
  expect((await left!.apply()).applied).toHaveLength(2);
  expect(readdirSync(project)).toContain("out.txt");
  expect(readdirSync(project)).not.toContain("note");
});
