/** Changes as patches of git, which git itself and patch(1) take. */
import { expect, test } from "bun:test";
import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { StagedChanges } from "../../../src/changes/changes.ts";
import { makeWhiteout, setAttribute } from "../../../src/host/libc.ts";
import { ArgumentError } from "../../../src/index.ts";
import { mkfifo, ownState, type Staged, staged } from "./staged.ts";

ownState();

const git = { format: "git" } as const;

/** A copy of the shared directory, with the patch applied by a program. */
function patched(one: Staged, patch: string, program = ["git", "apply", "--whitespace=nowarn"]): string {
  const copy = `${one.lower}.copy`;
  rmSync(copy, { recursive: true, force: true });
  cpSync(one.lower, copy, { recursive: true, verbatimSymlinks: true });
  const stdin = Buffer.from(patch);
  if (program[0] === "git") run([...program, "--check"]);
  run(program);
  return copy;

  function run(words: string[]): void {
    const done = Bun.spawnSync(words, {
      cwd: copy,
      stdin,
      env: { ...process.env, GIT_CEILING_DIRECTORIES: copy },
    });
    expect([done.exitCode, `${done.stdout}${done.stderr}`]).toEqual([0, ""]);
  }
}

/** As git sees it: no empty directories, and of permissions whether the owner may run it. */
function seen(top: string, below: Buffer = Buffer.alloc(0)): string[] {
  const at = (name: Buffer) => Buffer.concat([Buffer.from(`${top}/`), name]);
  return readdirSync(at(below), { encoding: "buffer" }).flatMap((entry) => {
    const path = below.length === 0 ? entry : Buffer.concat([below, Buffer.from("/"), entry]);
    const status = lstatSync(at(path));
    if (status.isDirectory()) return seen(top, path);
    const what = status.isSymbolicLink()
      ? `-> ${readlinkSync(at(path), { encoding: "buffer" }).toString("latin1")}`
      : `${status.mode & 0o100 ? "x" : "-"} ${readFileSync(at(path)).toString("latin1")}`;
    return [`${path.toString("latin1")} ${what}`];
  });
}

/** Numbers that are the same each time. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const NAMES = [
  "a",
  "b",
  "with space",
  'quo"te',
  "back\\slash",
  "new\nline",
  "tab\t",
  "ümlaut",
  "-x",
  " lead",
  "a b",
];

function contentsOf(next: (below: number) => number, binary: boolean): Buffer {
  if (binary && next(4) === 0) return Buffer.from(Array.from({ length: next(4000) }, () => next(256)));
  const lines = Array.from(
    { length: next(30) },
    () => ["one", "two", "", "three\r", "--- a", "@@ -1", "\u2028"][next(7)],
  );
  return Buffer.from(lines.join("\n") + (next(3) === 0 ? "" : "\n"));
}

/** A shared directory, and changes of all kinds to it. */
async function random(
  seed: number,
  kinds: { links: boolean; binary: boolean; names: readonly string[]; above?: readonly string[] },
) {
  const next = numbers(seed);
  const one = await staged();
  const any = () => kinds.names[next(kinds.names.length)]!;
  const above = () => (kinds.above === undefined ? any() : kinds.above[next(kinds.above.length)]!);
  const path = () => [...Array.from({ length: next(3) }, above), any()].join("/");
  const make = (top: string, name: string) => {
    try {
      mkdirSync(join(top, name, ".."), { recursive: true });
      rmSync(join(top, name), { recursive: true, force: true });
      if (kinds.links && next(4) === 0)
        symlinkSync(["nowhere", "../b\nc", "/nonexistent/passwd"][next(3)]!, join(top, name));
      else
        writeFileSync(join(top, name), contentsOf(next, kinds.binary), {
          mode: next(3) === 0 ? 0o755 : 0o644,
        });
    } catch {
      // something of another type is above it
    }
  };
  for (let count = 0; count < 25; count++) make(one.lower, path());
  // What a guest would have left: the tree as it is to be, over nothing of the old one
  cpSync(one.lower, one.upper, { recursive: true, verbatimSymlinks: true });
  for (let count = 0; count < 15; count++) {
    const name = path();
    try {
      const what = next(6);
      if (what < 2) rmSync(join(one.upper, name), { recursive: true, force: true });
      else if (what === 2) renameSync(join(one.upper, name), join(one.upper, path()));
      else if (what === 3 && !lstatSync(join(one.upper, name)).isSymbolicLink())
        chmodSync(join(one.upper, name), 0o755);
      else make(one.upper, name);
    } catch {
      // nothing is there
    }
  }
  writeFileSync(join(one.upper, "always"), "new\n");
  const whole = `${one.upper}.whole`;
  renameSync(one.upper, whole);
  one.renew("."); // nothing of the old one shows
  cpSync(whole, one.upper, { recursive: true, verbatimSymlinks: true });
  markAll(one.upper);
  return { one, expected: seen(whole) };

  function markAll(top: string): void {
    for (const entry of readdirSync(top, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      setAttribute(join(top, entry.name), "user.overlay.opaque", "y");
      markAll(join(top, entry.name));
    }
  }
}

test("git apply makes random changes to the byte: modes, links, renames, odd names, any contents", async () => {
  for (let seed = 1; seed <= 25; seed++) {
    const { one, expected } = await random(seed, { links: true, binary: true, names: NAMES });
    const patch = await one.changes.diff(undefined, git);
    expect(patch).toContain("diff --git ");
    expect(seen(patched(one, patch))).toEqual(expected);
  }
});

test.skipIf(Bun.which("patch") === null)(
  "patch(1) makes random changes of text, with renames, links and the x bit",
  async () => {
    for (let seed = 1; seed <= 15; seed++) {
      const { one, expected } = await random(seed, {
        links: true,
        binary: false,
        names: ["a", "b", "with space", 'quo"te', "ümlaut"],
        above: ["d", "d e"],
      });
      const patch = await one.changes.diff(undefined, git);
      expect(seen(patched(one, patch, ["patch", "-p1", "-s"]))).toEqual(expected);
    }
  },
);

test("what no patch can say has a line at its head, and the rest is applied", async () => {
  const one = await staged({ text: "a\n", "gone/b": "b\n", "way/c": "c\n", "none/": "" });
  const names = [".git/config", ".GIT./x", "git~1/x", "y\\.git:z"];
  for (const name of names) one.put(name, "x");
  symlinkSync("text", join(one.upper, ".gitmodules"));
  mkdirSync(join(one.upper, "empty"));
  mkfifo(join(one.lower, "gone/fifo"));
  one.remove("gone");
  one.remove("none");
  one.put("text", "a\n", 0o600);
  one.put("large", "");
  truncateSync(join(one.upper, "large"), (64 << 20) + 1);
  one.put("way", "now a file\n");
  const patch = await one.changes.diff(undefined, git);
  const git_ = "git applies nothing of that name";
  expect(patch.split("\n").filter((line) => line.startsWith("#"))).toEqual([
    `# not in this patch: /s/.GIT./x: ${git_}`,
    `# not in this patch: /s/.git/config: ${git_}`,
    `# not in this patch: /s/.gitmodules: ${git_}`,
    "# not in this patch: /s/empty: git knows no empty directories",
    `# not in this patch: /s/git~1/x: ${git_}`,
    "# CONFLICT: /s/gone: this machine has changed /s/gone/fifo since the sandbox started",
    "# not in this patch: /s/gone/fifo: git knows no fifos, sockets and devices",
    "# not in this patch: /s/large: it is larger than 64 MiB",
    "# not in this patch: /s/none: git knows no empty directories",
    "# not in this patch: /s/text: of permissions git knows whether its owner may run it, and no others",
    `# not in this patch: /s/y\\x5c.git:z: ${git_}`,
  ]);
  rmSync(join(one.lower, "gone/fifo")); // node copies none
  expect(seen(patched(one, patch))).toEqual(["text - a\n", "way - now a file\n"]);
  // And git would have refused all of it for each of these
  for (const name of names) {
    const forced = `diff --git a/${name} b/${name}\nnew file mode 100644\n`;
    const done = Bun.spawnSync(["git", "apply", "--check"], { cwd: one.lower, stdin: Buffer.from(forced) });
    expect(done.stderr.toString()).toContain("invalid path");
  }
});

test("what this machine has changed meanwhile is told at the head", async () => {
  const one = await staged({ a: "1\n" });
  one.put("a", "2\n");
  writeFileSync(join(one.lower, "a"), "3\n");
  const patch = await one.changes.diff(["/s/a"], git);
  expect(patch).toStartWith(
    "# CONFLICT: /s/a: this machine has changed it since the sandbox started\ndiff --git ",
  );
});

test("links that a guest puts in the way are not followed", async () => {
  const one = await staged({ "d/a": "1\n" });
  symlinkSync("/etc", join(one.upper, "d"));
  const patch = await one.changes.diff(undefined, git);
  expect(patch).toContain("+/etc\n");
  expect(patch).not.toContain("root:");
  expect(seen(patched(one, patch))).toEqual(["d -> /etc"]);
});

test("a patch is of one share", async () => {
  const one = await staged({ a: "1\n" });
  const other = await staged({ b: "the same\n" });
  const [share] = one.staging.record.shares;
  const second = {
    ...share!,
    index: 1,
    host: other.lower,
    guest: "/t",
    identity: other.staging.record.shares[0]!.identity!,
  };
  const both = { ...one.staging, record: { ...one.staging.record, shares: [share!, second] } };
  renameSync(join(other.staging.directory, "0"), join(one.staging.directory, "1"));
  const changes = new StagedChanges(both);
  rmSync(join(one.staging.directory, "1/upper/b"), { force: true });
  makeWhiteout(join(one.staging.directory, "1/upper/b"));
  one.put("c", "the same\n");
  await expect(changes.diff(undefined, git)).rejects.toThrow(
    "a patch of git is of one share, and there are /s, /t",
  );
  await expect(changes.diff(["/s", "/t"], git)).rejects.toThrow(ArgumentError);
  expect(await changes.diff(["/s"], git)).toContain("diff --git a/c b/c\nnew file mode 100644\n");
  expect(await changes.diff(["/t"], git)).toContain("diff --git a/b b/b\ndeleted file mode 100644\n");
  expect(await changes.diff([], git)).toBe("");
  await expect(changes.diff(["/s"], { format: "patch" as "git" })).rejects.toThrow('"unified" or "git"');
});
