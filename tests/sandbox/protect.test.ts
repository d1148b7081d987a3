/** What is protected in a read-write share, against a guest that is root: files and trees stay, by whatever name. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Agent, Capsa, MountMode, type Notice, type RunningSandbox, sandbox } from "../../src/index.ts";
import { capsa, ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";

const PACKAGE = resolve(import.meta.dirname, "../..");
let share: string;
let vm: RunningSandbox;
let agent: Agent;
const notices: Notice[] = [];

beforeAll(async () => {
  share = realpathSync(mkdtempSync(join(tmpdir(), "capsa-protected-")));
  mkdirSync(join(share, ".git/hooks"), { recursive: true });
  writeFileSync(join(share, ".git/config"), "protected\n");
  writeFileSync(join(share, ".git/hooks/pre-commit"), "protected\n");
  chmodSync(join(share, ".git/hooks/pre-commit"), 0o755);
  linkSync(join(share, ".git/hooks/pre-commit"), join(share, "alias"));
  writeFileSync(join(share, "free"), "");
  vm = await Capsa.sandbox()
    .memoryMb(256)
    .share(share, "/p", { mode: MountMode.ReadWrite, protect: [".git/hooks", ".git/config", "later/hooks"] })
    .share(join(PACKAGE, "src"), "/src", MountMode.ReadWrite)
    .run("/bin/sleep", ["infinity"])
    .build({ onNotice: (notice) => notices.push(notice) });
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
});

afterAll(async () => {
  await vm?.kill();
  rmSync(share, { recursive: true, force: true });
});

ownRuntimeDirectory(); // looked at after that

/** Every one of the commands, run in the share, fails, as on a file system that is read-only. */
async function allFail(...commands: string[]): Promise<void> {
  for (const command of commands) {
    const { exitCode, stderr } = await agent.exec(command, { cwd: "/p" });
    expect([command, exitCode === 0, stderr]).toEqual([command, false, expect.stringContaining("Read-only")]);
  }
  expect(readFileSync(join(share, ".git/config"), "utf8")).toBe("protected\n");
  expect(readFileSync(join(share, ".git/hooks/pre-commit"), "utf8")).toBe("protected\n");
  expect(statSync(join(share, ".git/hooks/pre-commit")).mode & 0o7777).toBe(0o755);
  expect(readdirSync(join(share, ".git/hooks"))).toEqual(["pre-commit"]);
}

test("a file and a tree cannot be written, replaced or removed", async () => {
  await allFail(
    "echo x >>.git/config",
    "echo x >.git/hooks/pre-commit",
    "echo x >.git/hooks/post-commit",
    "dd if=/dev/zero of=.git/config conv=notrunc count=1",
    "truncate -s 0 .git/config",
    "mv free .git/config",
    "mv .git/config moved",
    "rm .git/config",
    "rm .git/hooks/pre-commit",
    "mv .git/hooks moved",
    "mkdir .git/hooks/d",
    "ln -s /bin/sh .git/hooks/post-commit",
    "mkfifo .git/hooks/post-commit",
    "chmod 644 .git/hooks/pre-commit",
    "chown 1 .git/config",
    "touch .git/config",
    "ln .git/config linked",
  );
});

test("nor can the way there, nor what is not there yet", async () => {
  await allFail(
    "mv .git moved",
    "mv .git moved && mkdir .git",
    "touch later",
    "ln -s .git later",
    "mkdir -p made/hooks && mv made later",
  );
  expect((await agent.exec("mkdir later", { cwd: "/p" })).exitCode).toBe(0);
  await allFail(
    "mkdir later/hooks",
    "touch later/hooks",
    "ln -s ../made/hooks later/hooks",
    "mv made/hooks later/hooks",
  );
  const free =
    "rmdir later && echo x >.git/index && mkdir .git/objects && mv .git/index .git/objects/o && cat .git/config";
  expect(await agent.exec(free, { cwd: "/p" })).toMatchObject({ exitCode: 0, stdout: "protected\n" });
});

test("nor by another name of the file", async () => {
  await allFail("echo x >>alias", "chmod 777 alias", "ln alias other", "mkdir d; mv alias d/a; echo x >d/a");
  expect((await agent.exec("rm d/a", { cwd: "/p" })).exitCode).toBe(0);
});

test("a share of capsa's own files is read-only, and told of", async () => {
  const { exitCode, stderr } = await agent.exec(": >>/src/index.ts");
  expect(exitCode).not.toBe(0);
  expect(stderr).toContain("Read-only");
  expect(notices.filter(({ code }) => code === "SHARE_READ_ONLY")).toHaveLength(1);
});

test("a guest cannot change the file that it was started by", async () => {
  await using dir = await scratch();
  const text = `[sandbox.box]
memory = "128M"
[[sandbox.box.shares]]
host = "."
guest = "/project"
mode = "rw"
[[steps]]
exec = """
cd /project
more='[[sandbox.box.shares]]'
echo "$more" >>capsa.toml
echo "$more" >>real.toml
echo "$more" >more && mv more capsa.toml
mv capsa.toml aside
rm capsa.toml real.toml
cp more capsa.toml
touch capsa.lock
touch mine
"""
expect = { exitCode = 0, stderr = { matches = "^([^\\n]*Read-only file system\\n){8}$" } }
`;
  writeFileSync(join(dir.path, "real.toml"), text);
  symlinkSync("real.toml", join(dir.path, "capsa.toml"));
  const { exitCode, stdout, stderr } = await capsa(["up"], { cwd: dir.path });
  expect(stdout + stderr).toContain("1 passed");
  expect(exitCode).toBe(0);
  expect(readFileSync(join(dir.path, "capsa.toml"), "utf8")).toBe(text);
  expect(readdirSync(dir.path).sort()).toEqual(["capsa.toml", "mine", "more", "real.toml"]);
});

test.skipIf(Bun.which("git") === null)(
  "git goes on where its hooks and its settings are protected",
  async () => {
    await using dir = await scratch();
    const git = (...words: string[]) =>
      Bun.spawnSync(["git", "-c", "user.name=a", "-c", "user.email=a@b", ...words], { cwd: dir.path });
    git("init", "-q");
    appendFileSync(join(dir.path, "f"), "f\n");
    const config = readFileSync(join(dir.path, ".git/config"), "utf8");
    await using machine = await Capsa.sandbox()
      .memoryMb(512)
      .rootfs("host")
      .share(dir.path, "/p", {
        mode: MountMode.ReadWrite,
        protect: [".git/hooks", ".git/config", ".git/commondir"],
      })
      .run("/bin/sleep", ["infinity"])
      .build();
    await using there = await sandbox.waitReady(machine.vsockSocket(sandbox.agentPort()));
    const guest = (command: string) =>
      there.exec(command, { cwd: "/p", env: { HOME: "/tmp" }, timeoutMs: 100_000 });
    const commit =
      "git config --global user.name a && git config --global user.email a@b && git add f && git commit -qm f";
    expect(await guest(commit)).toMatchObject({ exitCode: 0 });
    expect((await guest("git config core.fsmonitor /p/evil")).exitCode).not.toBe(0);
    expect((await guest("echo /p/other >.git/commondir")).exitCode).not.toBe(0);
    expect(readFileSync(join(dir.path, ".git/config"), "utf8")).toBe(config);
    expect(git("log", "--format=%s").stdout.toString()).toBe("f\n");
  },
);
