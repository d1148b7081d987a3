/** A transactional share under ordinary use: to the guest it is as a disk, whatever this machine does in it meanwhile. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";
import { capableDirectory } from "../unit/changes/staged.ts";
import { ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";

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
  for (const name of ["dir", "tree/sub"]) mkdirSync(join(project, name), { recursive: true });
  for (const [name, text] of [
    ["notes", "one\n"],
    ["saved", "old\n"],
    ["removed", "old\n"],
    ["dir/x", "x\n"],
    ["live", "before\n"],
    ["tree/a", "a\n"],
    ["tree/b", "b\n"],
    ["tree/sub/c", "c\n"],
  ] as const)
    writeFileSync(join(project, name), text);
  vm = await Capsa.sandbox()
    .memoryMb(512)
    .rootfs("host")
    .share(project, "/project", MountMode.Transaction)
    .run("/bin/sleep", ["infinity"])
    .build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
}, 60_000);
afterAll(async () => {
  await agent?.close();
  await vm?.kill();
  delete process.env.XDG_STATE_HOME;
  rmSync(state, { recursive: true, force: true });
  await place?.[Symbol.asyncDispose]();
});
ownRuntimeDirectory(); // looked at when all of the sandbox is gone

async function run(script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await agent.exec(`set -e; ${script}`, { cwd: "/project" });
  expect([exitCode, stderr]).toEqual([0, ""]);
  return stdout;
}

/** A program that says "ready" and waits for the end of its input; `rest` gives that, and what it says then. */
async function holding(script: string) {
  const child = await agent.spawn(script, { cwd: "/project", stdin: "pipe" });
  const lines = child.stdout.lines()[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe("ready");
  return {
    async rest() {
      await child.stdin!.close();
      let text = "";
      for (let line = await lines.next(); !line.done; line = await lines.next()) text += `${line.value}\n`;
      return text;
    },
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

/** Until the guest has forgotten what it knew of a share with `cache = "auto"`. */
async function until(script: string, expected: string): Promise<void> {
  for (;;) {
    const { stdout } = await agent.exec(script, { cwd: "/project" });
    if (stdout === expected) return;
    await Bun.sleep(50);
  }
}

test("after an apply the sandbox goes on with the files it had changed, open or not", async () => {
  await run("echo two >>notes; mv saved kept; echo first >>live");
  await using held = await holding("exec 3>>live 4<live; echo ready; read x; echo more >&3; cat <&4");
  expect((await vm.apply()).refused).toEqual([]);
  expect(readFileSync(join(project, "notes"), "utf8")).toBe("one\ntwo\n");
  expect(readdirSync(project).sort()).toEqual(["dir", "kept", "live", "notes", "removed", "tree"]);
  await until("cat notes kept", "one\ntwo\nold\n");
  expect(await run("echo three >>notes; mv kept saved; cat notes saved")).toBe("one\ntwo\nthree\nold\n");
  expect(await held.rest()).toBe("before\nfirst\nmore\n");
  expect((await vm.changes()).map(({ kind, path }) => `${kind} ${path}`)).toEqual([
    "modified /project/live",
    "modified /project/notes",
    "renamed /project/saved",
  ]);
});

test("what was applied is this machine's to edit", async () => {
  await run("echo guest >agreed; rm removed");
  expect((await vm.apply(["/project/agreed", "/project/removed"])).refused).toEqual([]);
  expect(await run("cat agreed; test ! -e removed")).toBe("guest\n");
  writeFileSync(join(project, "agreed"), "edited\n");
  writeFileSync(join(project, "removed"), "old\n");
  await until("cat agreed removed", "edited\nold\n");
  expect(await run("echo again >>agreed; cat agreed")).toBe("edited\nagain\n");
  expect((await vm.apply(["/project/agreed"])).refused).toHaveLength(1);
  await vm.discard(["/project/agreed"]);
});

test("what this machine saves, removes or makes is seen, in its directories too", async () => {
  writeFileSync(join(project, "edited"), "old\n");
  await until("cat edited removed dir/x", "old\nold\nx\n");
  writeFileSync(join(project, ".edited.swp"), "new\n");
  renameSync(join(project, ".edited.swp"), join(project, "edited"));
  rmSync(join(project, "removed"));
  rmSync(join(project, "dir"), { recursive: true });
  mkdirSync(join(project, "dir"));
  writeFileSync(join(project, "dir/y"), "y\n");
  writeFileSync(join(project, "later"), "later\n");
  await until("cat edited removed; ls dir; cat later", "new\ny\nlater\n");
  expect(await run("echo mine >edited; rm -r dir; mkdir dir; ls dir; cat edited later")).toBe(
    "mine\nlater\n",
  );
  expect(readFileSync(join(project, "edited"), "utf8")).toBe("new\n");
  expect(readdirSync(join(project, "dir"))).toEqual(["y"]);
});

test("hard links are of one file, whichever name goes first", async () => {
  expect(
    await run(
      "mkdir d; echo x >d/a; ln d/a d/b; cat d/b; rm d/a; cat d/b; rm d/b; rmdir d; test ! -e d; echo gone",
    ),
  ).toBe("x\nx\ngone\n");
  expect(await run("echo 1 >f; ln f f~; echo 2 >n; mv n f; cat f f~; stat -c %h f~; rm f f~")).toBe(
    "2\n1\n1\n",
  );
  expect(
    await run("ln later other; echo more >>other; cat later; stat -c %h later; rm later; cat other"),
  ).toBe("later\nmore\n2\nlater\nmore\n");
});

test("a directory is renamed as one, is applied, and goes on", async () => {
  const rename = `python3 -c 'import os; os.rename("tree", "moved"); print(sorted(os.listdir("moved")))'`;
  expect(await run(`${rename}; test ! -e tree; echo B >moved/b; cat moved/a moved/sub/c`)).toBe(
    "['a', 'b', 'sub']\na\nc\n",
  );
  expect(readdirSync(join(project, "tree")).sort()).toEqual(["a", "b", "sub"]);
  expect((await vm.apply(["/project/moved", "/project/tree"])).refused).toEqual([]);
  expect(readFileSync(join(project, "moved/b"), "utf8")).toBe("B\n");
  expect(readdirSync(project)).not.toContain("tree");
  await until("cat moved/a moved/b moved/sub/c", "a\nB\nc\n");
  expect(await run("echo more >>moved/sub/c; cat moved/sub/c")).toBe("c\nmore\n");
  expect((await vm.changes()).map(({ kind, path }) => `${kind} ${path}`)).toContain(
    "modified /project/moved/sub/c",
  );
});

test("one whose old name is another's by now goes on, and for whoever is in it", async () => {
  mkdirSync(join(project, "src/sub"), { recursive: true });
  for (const name of ["src/f", "src/sub/c"]) writeFileSync(join(project, name), "old\n");
  await until("cat src/f src/sub/c", "old\nold\n");
  await run("mv src src.old; mkdir -p src/sub; echo new | tee src/f >src/sub/d; touch src.old/sub/own");
  await using held = await holding("cd src.old/sub; echo ready; read x; ls; cat c");
  const { refused } = await vm.apply(["/project/src", "/project/src.old"], { force: true });
  expect(refused).toEqual([]);
  expect(await held.rest()).toBe("c\nown\nold\n");
  await until(
    "echo src/* src/sub/* src.old/* src.old/sub/*",
    "src/f src/sub src/sub/d src.old/f src.old/sub src.old/sub/c src.old/sub/own\n",
  );
  expect(await run("cat src/f src.old/f")).toBe("new\nold\n");
  const left = (await vm.changes()).filter(({ path }) => /project\/src/.test(path));
  expect(left).toEqual([]);
});

test("a name that is removed twice is a change twice", async () => {
  writeFileSync(join(project, "twice"), "1\n");
  await until("cat twice", "1\n");
  await run("rm twice");
  expect((await vm.apply(["/project/twice"], { force: true })).refused).toEqual([]);
  await run("touch twice; rm twice");
  writeFileSync(join(project, "twice"), "2\n");
  await until("cat twice", "2\n");
  await run("rm twice");
  expect((await vm.changes()).map(({ path }) => path)).toContain("/project/twice");
  expect((await vm.apply(["/project/twice"], { force: true })).refused).toEqual([]);
  expect(readdirSync(project)).not.toContain("twice");
});

test("a file made without permissions is its maker's to write", async () => {
  expect(
    await run(`echo a >from; chmod 444 from; cp from to; stat -c %a to
      python3 -c 'import os; f = os.open("object", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444); os.write(f, b"b\\n")'
      cat object`),
  ).toBe("444\nb\n");
});

test("a copy of a file that another program has mapped is right", async () => {
  await using mapped = await holding(`python3 -c '
import mmap, os, sys
fd = os.open("db", os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(fd, 65536)
m = mmap.mmap(fd, 65536)
m[:] = b"R" * 65536
print("ready", flush=True)
sys.stdin.readline()'`);
  expect(await run("cp db copy; tr -d R <copy | wc -c; stat -c %s copy")).toBe("0\n65536\n");
  expect(await mapped.rest()).toBe("");
});

test("numbers and times stay when a file is changed for the first time", async () => {
  writeFileSync(join(project, "first"), "first\n");
  const directory = statSync(project).mtimeMs;
  await until("cat first", "first\n");
  const before = await run("stat -c '%i %Y' . first");
  expect(
    await run("exec 3<first; chmod 600 first; stat -c '%i %Y' . first; echo more >>first; cat <&3"),
  ).toBe(`${before}first\nmore\n`);
  expect(statSync(project).mtimeMs).toBe(directory);
});

test("what the guest makes and removes while applies are at work does not come back", async () => {
  await run("mkdir busy");
  let over = false;
  const apply = () => vm.apply(["/project/busy"]).catch((error) => expect(error.code).toBe("NO_SUCH_CHANGE"));
  const applies = (async () => {
    while (!over) {
      const began = performance.now();
      await apply();
      await Bun.sleep(100 + 2 * (performance.now() - began)); // the guest works in between, wherever this runs
    }
  })();
  const script = "for i in $(seq 60); do echo x >t$i; mv t$i u$i; rm u$i; mkdir d$i; rmdir d$i; done; ls -A";
  const work = agent.exec(script, { cwd: "/project/busy" }).finally(() => (over = true));
  expect(await work).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
  await applies;
  await apply();
  expect(readdirSync(join(project, "busy"))).toEqual([]);
  expect((await agent.exec("ls -A busy", { cwd: "/project" })).stdout).toBe("");
  expect((await vm.changes()).filter(({ path }) => path.startsWith("/project/busy"))).toEqual([]);
}, 300_000);

test("who is killed while it applies does not keep the guest waiting", async () => {
  await using program = await holding("echo ready; read x; echo held >held; cat held");
  const holder = Bun.spawn([process.execPath, join(import.meta.dir, "holder.ts"), vm.id], {
    env: { ...process.env },
    stdout: "pipe",
  });
  const said = await holder.stdout.getReader().read();
  expect(Buffer.from(said.value!).toString()).toBe("held\n");
  let done = false;
  const work = program.rest().finally(() => (done = true));
  await vm.pause();
  await vm.resume();
  await vm.metrics();
  // what is no transaction goes on: the root file system is this machine's
  expect((await agent.exec("ls /usr/share >/dev/null; echo on")).stdout).toBe("on\n");
  expect(done).toBe(false);
  holder.kill("SIGKILL");
  expect(await work).toBe("held\n");
});
