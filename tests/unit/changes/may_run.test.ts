/** Which changes are marked: by their names, in any directory, and by what a share protects. */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { mayRun, RULES } from "../../../src/changes/may_run.ts";
import { mkfifo, ownState, type Staged, staged } from "./staged.ts";

const PAGE = resolve(import.meta.dirname, "../../../docs/transactions.md");
ownState();

const reason = (path: string, protect?: readonly string[]) =>
  mayRun(
    path.split("/").map((name) => Buffer.from(name)),
    protect,
  );

test("what programs of this machine run or obey, by its name", () => {
  const marked: Record<string, readonly string[]> = {
    "the description of a sandbox": ["capsa.toml", "capsa.lock", "ci/nightly.scenario.toml"],
    "a git hook": [
      ".git/hooks/pre-commit",
      "sub/.git/hooks/d/x",
      ".git/modules/a/b/hooks/h",
      ".husky",
      ".husky/_/h",
    ],
    "settings of git": [
      ".git",
      ".GIT/Config",
      ".git/config.worktree",
      ".git/commondir",
      ".git/modules/a/config",
      ".gitmodules",
    ],
    "scripts of a package": ["package.json", "packages/a/package.json"],
    "settings of a package manager": [".npmrc", ".yarnrc", ".yarnrc.yml"],
    "settings of Bun or TypeScript": ["bunfig.toml", "tsconfig.json", "tsconfig.build.json", "jsconfig.json"],
    "variables of programs": [".env", ".env.local", ".envrc", "mise.toml", ".mise.toml"],
    "rules of a build": [
      "Makefile",
      "GNUmakefile",
      "makefile",
      "rules.mk",
      "justfile",
      "CMakeLists.txt",
      "build.rs",
      ".cargo/config.toml",
    ],
    "rules of a container": ["Dockerfile", "Dockerfile.dev", "docker-compose.yml", "compose.prod.yaml"],
    "rules of a CI": [".github/workflows/ci.yml", ".gitlab-ci.yml", "Jenkinsfile"],
    "settings of an editor": [
      ".vscode/tasks.json",
      ".idea/x/y",
      "a.code-workspace",
      ".devcontainer/devcontainer.json",
    ],
    "settings of an AI agent": [".mcp.json", ".claude/settings.json"],
    "a shell's start-up file": [".bashrc", ".profile", ".bash_profile", ".zprofile", ".zshenv", ".login"],
    "a debugger's start-up file": [".gdbinit"],
    "`protect` names it": [],
  };
  for (const [why, paths] of Object.entries(marked))
    for (const path of paths) expect([path, reason(path)]).toEqual([path, why]);
});

test("others are not: what only looks like it, and what is code throughout", () => {
  const plain = [
    "src/main.c",
    ".git/index",
    ".git/objects/ab/cd",
    ".gitignore",
    ".environment",
    "env",
    "mypackage.json",
  ];
  const more = [
    "package.json5",
    "Makefile.am.in",
    "hooks/pre-commit",
    ".github/CODEOWNERS",
    "capsa.toml/x",
    "a\nMakefilex",
  ];
  for (const path of [...plain, ...more, "node_modules/a/package.json", "."])
    expect([path, reason(path)]).toEqual([path, undefined]);
});

test("what a share protects is, with all below it", () => {
  const protect = ["deploy", "a/b.txt"];
  for (const path of ["deploy", "deploy/x/y", "a/b.txt", "deploy/package.json"])
    expect([path, reason(path, protect)]).toEqual([path, "`protect` names it"]);
  for (const path of ["Deploy", "A/B.TXT"])
    expect([path, reason(path, protect)]).toEqual([path, "`protect` names it"]);
  expect(reason("a/b.txt", ["A/B.txt"])).toBe("`protect` names it");
  for (const path of ["deploys", "a", "a/b.txtx", "x/deploy"]) expect(reason(path, protect)).toBeUndefined();
});

test("a change has its reason: of a file by either of its names, of a directory when it is gone", async () => {
  const one = await staged({ ".npmrc": "some text\n", ".vscode/x": "1", "conf/a": "1" }, "root", ["conf"]);
  one.put("npmrc", "some text\n");
  one.remove(".npmrc");
  one.remove(".vscode");
  one.put(".idea/x", "1");
  one.put("conf/a", "2");
  one.put("plain", "2");
  mkfifo(join(one.upper, "Makefile"));
  const list = await one.changes.list();
  expect(list.map(({ path, mayRun }) => [path, mayRun])).toEqual([
    ["/s/.idea", undefined],
    ["/s/.idea/x", "settings of an editor"],
    ["/s/.vscode", "settings of an editor"],
    ["/s/conf/a", "`protect` names it"],
    ["/s/npmrc", "settings of a package manager"],
    ["/s/plain", undefined],
  ]);
});

test("so has a link or file in the place of a directory above it, and that directory when it is gone", async () => {
  const ways = {
    ".github": "rules of a CI",
    ".GitLab": undefined,
    ".Config": "a shell's start-up file",
    "a/.git/info": "settings of git",
    ".git/modules": "a git hook",
    ".git/modules/a/b": "a git hook",
    ".git/worktrees": "settings of git",
    tools: "`protect` names it",
    "Tools/CI": "`protect` names it",
    "tools/other": undefined,
    "node_modules/.git/info": undefined,
  };
  const marks = async (change: (one: Staged, path: string) => void, files: Record<string, string>) => {
    const told: Record<string, string | undefined> = {};
    for (const path of Object.keys(ways)) {
      const below = Object.fromEntries(Object.entries(files).map(([name, text]) => [`${path}${name}`, text]));
      const one = await staged(below, "root", ["tools/ci/Build.sh"]);
      change(one, path);
      told[path] = (await one.changes.list()).find((change) => change.path === `/s/${path}`)?.mayRun;
    }
    return told;
  };
  const link = (one: Staged, path: string) => {
    mkdirSync(dirname(join(one.upper, path)), { recursive: true });
    symlinkSync("elsewhere", join(one.upper, path));
  };
  expect(await marks(link, {})).toEqual(ways);
  expect(await marks(link, { "/x": "1" })).toEqual(ways);
  expect(await marks((one, path) => one.remove(path), { "/x": "1" })).toEqual(ways);
  expect(await marks((one, path) => one.put(path, "a file"), { "/x": "1" })).toEqual(ways);
  const plain = Object.fromEntries(Object.keys(ways).map((path) => [path, undefined]));
  expect(await marks((one, path) => one.put(path, "2"), { "": "1" })).toEqual(plain);
});

test("the documentation has the list", () => {
  const page = readFileSync(PAGE, "utf8");
  for (const [why, patterns] of Object.entries(RULES)) {
    const row = page.split("\n").find((line) => line.startsWith(`| \`${why}\` |`));
    expect([why, row?.match(/(?<=`)[^` ]+(?=`)/g)]).toEqual([
      why,
      expect.arrayContaining(patterns.split(" ")),
    ]);
  }
});
