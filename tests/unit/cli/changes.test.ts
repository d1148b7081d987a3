/** `capsa diff`, `apply`, `discard` and `ps` about changes that a sandbox has left; none of it needs one. */
import { expect, test } from "bun:test";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ownState, staged } from "../changes/staged.ts";
import { capsa, MAIN, ownRuntimeDirectory } from "./capsa.ts";

ownRuntimeDirectory();
ownState();

test("diff, apply and discard, of all or of paths, for people and for programs", async () => {
  const one = await staged({ a: "1\n", b: "2\n" });
  one.put("a", "11\n");
  one.put("b", "22\n");
  one.put("c", "33\n");
  const { id } = one.staging.record;
  const [diff, json, summary] = await Promise.all([
    capsa(["diff", "/s/a"]),
    capsa(["diff", id, "/s/c", "--json"]),
    capsa(["diff", "box", "-s"]),
  ]);
  expect(diff).toEqual({
    exitCode: 0,
    stdout: "modified /s/a (2 to 3 bytes)\n--- a/s/a\n+++ b/s/a\n@@ -1,1 +1,1 @@\n-1\n+11\n",
    stderr: "",
  });
  expect(JSON.parse(json.stdout)).toEqual([
    {
      kind: "created",
      path: "/s/c",
      type: "file",
      size: 3,
      mode: 0o644,
      diff: "--- /dev/null\n+++ b/s/c\n@@ -0,0 +1,1 @@\n+33\n",
    },
  ]);
  expect(summary.stdout).toBe(
    "modified /s/a (2 to 3 bytes)\nmodified /s/b (2 to 3 bytes)\ncreated /s/c (3 bytes)\n",
  );

  writeFileSync(join(one.lower, "b"), "of this machine\n");
  const apply = await capsa(["apply", "/s/a", "/s/b"]);
  expect(apply).toMatchObject({ exitCode: 1, stdout: "modified /s/a\n" });
  expect(apply.stderr).toBe(
    "capsa: /s/b is not applied: this machine has changed it since the sandbox started\n" +
      "  `capsa apply --force` takes the guest's side, `capsa discard` this machine's\n",
  );
  const forced = await capsa(["apply", "box", "/s/b", "--force", "--json"]);
  expect(JSON.parse(forced.stdout)).toMatchObject({ applied: [{ path: "/s/b" }], refused: [] });
  expect(await capsa(["discard", "box"])).toEqual({ exitCode: 0, stdout: "created /s/c\n", stderr: "" });
  expect(one.seen()).toEqual({ a: "11\n", b: "22\n" });
});

test("what this machine may run is marked, and told when it is applied unless it was named", async () => {
  const one = await staged({ "package.json": "{}\n" });
  one.put("package.json", "{ }\n");
  one.put(".git/hooks/pre-commit", "x", 0o755);
  one.put(".git/hooks/\u202e", "x");
  one.put("plain", "x");
  const diff = await capsa(["diff", "-s"]);
  expect(diff.stdout).toContain(
    "modified /s/package.json (3 to 4 bytes, this machine may run it: scripts of a package)\n",
  );
  const json = JSON.parse(
    (await capsa(["diff", "--json", "-s", "/s/.git/hooks/pre-commit", "/s/plain"])).stdout,
  );
  expect(json.at(-2)).toMatchObject({ path: "/s/.git/hooks/pre-commit", mayRun: "a git hook" });
  expect(json.at(-1)).not.toHaveProperty("mayRun");
  const named = await capsa(["apply", "/s/.git/hooks/pre-commit", "/s/plain"]);
  expect(named).toMatchObject({ exitCode: 0, stderr: "" });
  const rest = await capsa(["apply"]);
  expect(rest).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("modified /s/package.json\n") });
  expect(rest.stderr.split("\n").sort()).toEqual([
    "",
    "capsa: this machine may run /s/.git/hooks/\\xe2\\x80\\xae: a git hook",
    "capsa: this machine may run /s/package.json: scripts of a package",
  ]);
});

test("a patch of git comes to the byte, and stands alone", async () => {
  const { lower, put, seen, staging } = await staged({ text: "1\n", "sub/tool": "x\n" });
  put("text", "2\u202e\n");
  put("sub/tool", "x\n", 0o755);
  const { stdout } = await capsa(["diff", staging.record.id, "--format", "git"]);
  const done = Bun.spawnSync(["git", "apply"], { cwd: lower, stdin: Buffer.from(stdout) });
  expect(done.stderr.toString()).toBe("");
  expect(seen()).toMatchObject({ text: "2\u202e\n" });
  expect(statSync(join(lower, "sub/tool")).mode & 0o777).toBe(0o755);
  expect(await capsa(["diff", "--format", "git", "--summary"])).toMatchObject({ exitCode: 2, stdout: "" });
  expect(await capsa(["diff", "--format", "svn"])).toMatchObject({ exitCode: 2, stdout: "" });
  await capsa(["discard", staging.record.id]);
});

test("what is wrong with the line, or is not there, is told with what to do", async () => {
  const [nothing, none, relative] = await Promise.all([
    capsa(["apply"]),
    capsa(["diff", "box"]),
    capsa(["diff", "box", "src"]),
  ]);
  expect(nothing).toMatchObject({ exitCode: 0, stderr: "there is nothing to apply\n" });
  expect(none).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('capsa keeps no changes of a sandbox "box"'),
  });
  expect(relative).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining("src is not an absolute path"),
  });

  const [one, other] = [await staged(), await staged()];
  for (const each of [one, other]) each.put("a", "1");
  const [several, wrong, ps] = await Promise.all([
    capsa(["discard"]),
    capsa(["apply", one.staging.record.id, "/s/none"]),
    capsa(["ps"]),
  ]);
  expect(several).toMatchObject({
    exitCode: 2,
    stderr: expect.stringMatching(
      new RegExp(`2 sandboxes have changes\\n.*${one.staging.record.id} \\(box, of `),
    ),
  });
  expect(wrong).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining("nothing has changed at /s/none"),
  });
  for (const { staging } of [one, other]) {
    const { id } = staging.record;
    expect(ps.stderr).toContain(
      `box: 1 change in ${staging.directory}; capsa diff ${id}, then capsa apply ${id} or`,
    );
  }
  for (const each of [one, other]) await each.changes.discard();
});

test("what a guest has named or written is escaped in lines that are for people", async () => {
  const one = await staged();
  one.put("\x1b]0;title\x07", "\x1b[31mred\n");
  const { stdout } = await capsa(["diff", "-s"]);
  expect(stdout).toBe("created /s/\\x1b]0;title\\x07 (9 bytes)\n");
  await one.changes.discard();
});

test("a difference is escaped on a terminal and to the byte in a pipe", async () => {
  const one = await staged();
  one.put("a", "if (admin\u202e) \u2066{\u009b1m\n");
  const line = [process.execPath, MAIN, "diff"].map((word) => `'${word}'`).join(" ");
  const { stdout: onTerminal } = Bun.spawnSync(["script", "-qec", line, "/dev/null"], { env: process.env });
  expect(onTerminal.toString()).toContain("+if (admin\\u202e) \\u2066{\\x9b1m");
  expect(onTerminal.toString()).not.toMatch(/[\u202e\u2066\u009b]/);
  const [piped, json] = await Promise.all([capsa(["diff"]), capsa(["diff", "--json"])]);
  expect(piped.stdout).toContain("\n+if (admin\u202e) \u2066{\u009b1m\n");
  expect(json.stdout).not.toMatch(/[\u202e\u2066\u009b]/);
  expect(JSON.parse(json.stdout)[0].diff).toContain("\n+if (admin\u202e) \u2066{\u009b1m\n");
  await one.changes.discard();
});

test("doctor says whether changes can be kept here, and what to do where they cannot", async () => {
  const doctor = async (env: Record<string, string> = {}) => {
    const { stdout } = await capsa(["doctor", "--json"], { env });
    const { findings } = JSON.parse(stdout) as { findings: { name: string }[] };
    return findings.find(({ name }) => name === "transactions");
  };
  expect(await doctor()).toMatchObject({ state: "ok", found: expect.stringContaining("capsa/changes") });
  expect(await doctor({ XDG_STATE_HOME: "/proc/none" })).toMatchObject({
    state: "note",
    found: expect.stringContaining("/proc/none"),
    mend: expect.stringContaining("XDG_STATE_HOME"),
  });
});
