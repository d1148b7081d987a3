/** Changes as people read them. */
import { expect, test } from "bun:test";
import { chmodSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ownState, staged } from "./staged.ts";

ownState();

test("text as diff -u has it, new and deleted files against /dev/null, a missing newline told", async () => {
  const one = await staged({ a: "one\ntwo\nthree\n", gone: "x\n" });
  one.put("a", "one\n2\nthree");
  one.put("b", "new\n");
  one.remove("gone");
  expect(await one.changes.diff()).toBe(`modified /s/a (14 to 11 bytes)
--- a/s/a
+++ b/s/a
@@ -1,3 +1,3 @@
 one
-two
-three
+2
+three
\\ No newline at end of file
created /s/b (4 bytes)
--- /dev/null
+++ b/s/b
@@ -0,0 +1,1 @@
+new
deleted /s/gone (2 bytes)
--- a/s/gone
+++ /dev/null
@@ -1,1 +0,0 @@
-x
`);
});

test("git apply takes it", async () => {
  const one = await staged({ "src/a": "one\ntwo\n", gone: "x\n" });
  one.put("src/a", "one\n2\n");
  one.put("b", "new\n");
  one.remove("gone");
  const patch = await one.changes.diff();
  const done = Bun.spawnSync(["git", "apply", "-p2", "-"], { cwd: one.lower, stdin: Buffer.from(patch) });
  expect(done.stderr.toString()).toBe("");
  expect(one.seen()).toEqual({ b: "new\n", "src/": "", "src/a": "one\n2\n" });
});

test("git apply makes the very names of a guest, whatever bytes they are of", async () => {
  const one = await staged({ "old\n\\": "x\n" });
  const odd = Buffer.from([0x6e, 0x22, 0x5c, 0x0a, 0x1b, 0x20, 0xff, 0xc3, 0xbc]); // n"\, a newline, ESC, no UTF-8
  const path = (directory: string) => Buffer.concat([Buffer.from(`${directory}/`), odd]);
  writeFileSync(path(one.upper), "new\n");
  one.put("old\n\\", "y\n");
  one.put("empty", "");
  const patch = await one.changes.diff();
  expect(patch).toContain('\n+++ "b/s/n\\"\\\\\\012\\033 \\377\\303\\274"\n');
  expect(patch).toStartWith("created /s/empty (0 bytes)\ncreated ");
  const done = Bun.spawnSync(["git", "apply", "-p2", "-"], { cwd: one.lower, stdin: Buffer.from(patch) });
  expect(done.stderr.toString()).toBe("");
  expect(readFileSync(path(one.lower), "utf8")).toBe("new\n");
  expect(readFileSync(join(one.lower, "old\n\\"), "utf8")).toBe("y\n");
});

test("a renamed file tells of permissions that it has not had", async () => {
  const one = await staged({ a: "#!/bin/sh\n", b: "the same" });
  for (const name of ["a", "b"]) one.remove(name);
  one.put("run", "#!/bin/sh\n");
  chmodSync(join(one.upper, "run"), 0o755);
  one.put("c", "the same");
  expect(await one.changes.diff()).toBe("renamed /s/b to /s/c\nrenamed /s/a to /s/run (0644 to 0755)\n");
});

test("what is no text, is too much, or leads elsewhere has a line", async () => {
  const one = await staged({ image: "\0old", links: "" });
  one.put("image", "\0new and longer");
  one.put("latin", Buffer.from([0x66, 0xfc, 0x72]));
  one.put("large", "");
  truncateSync(join(one.upper, "large"), (1 << 20) + 1);
  one.put("many", Array.from({ length: 6000 }, (_, line) => `${line}\n`).join(""));
  symlinkSync("/etc/passwd", join(one.upper, "way"));
  const parts = await one.changes.inspect();
  expect(parts.map(({ change, reason }) => [change.path, reason])).toEqual([
    ["/s/image", "binary"],
    ["/s/large", "larger than 1 MiB, not shown"],
    ["/s/latin", "binary"],
    ["/s/many", "more than 5000 lines differ, not shown"],
    ["/s/way", undefined],
  ]);
  expect(await one.changes.diff(["/s/way", "/s/image"])).toBe(
    "modified /s/image (4 to 15 bytes): binary\ncreated /s/way (a link to /etc/passwd)\n",
  );
});
