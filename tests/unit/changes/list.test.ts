/** What a guest has changed, told by the layer that it has written. */
import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compare } from "../../../src/changes/compare.ts";
import { headline } from "../../../src/changes/diff.ts";
import { mkfifo, ownState, staged } from "./staged.ts";

ownState();

const lines = async (one: Awaited<ReturnType<typeof staged>>) => (await one.changes.list()).map(headline);

test("files, directories and links that are new, changed or gone", async () => {
  const one = await staged({ "a.txt": "one\n", "dir/b": "b", "dir/c": "c", "old/x": "xx", "old/y/z": "zzz" });
  expect(await one.changes.list()).toEqual([]);
  one.put("a.txt", "one\ntwo\n");
  one.put("new/deep/file", "new");
  one.remove("dir/b");
  one.remove("old");
  one.remove("never");
  symlinkSync("/etc/passwd", join(one.upper, "link"));
  expect(await one.changes.list()).toMatchObject([
    { kind: "modified", path: "/s/a.txt", type: "file", size: 8, sizeBefore: 4 },
    { kind: "deleted", path: "/s/dir/b", type: "file", sizeBefore: 1 },
    { kind: "created", path: "/s/link", type: "symlink", target: "/etc/passwd" },
    { kind: "created", path: "/s/new", type: "directory" },
    { kind: "created", path: "/s/new/deep", type: "directory" },
    { kind: "created", path: "/s/new/deep/file", type: "file", size: 3, mode: 0o644 },
    { kind: "deleted", path: "/s/old", type: "directory", sizeBefore: 5 },
  ]);
});

test("a directory that was made anew hides what was in it", async () => {
  const one = await staged({ "dir/kept": "1", "dir/gone": "2", "dir/sub/gone": "3" });
  one.renew("dir");
  one.put("dir/kept", "1");
  expect(await lines(one)).toEqual(["deleted /s/dir/gone", "deleted /s/dir/sub/"]);
});

test("what is as it was is no change: copied up, written again, set back", async () => {
  const one = await staged({ "same/a": "text", empty: "" });
  one.put("same/a", "text");
  one.put("empty", "");
  expect(await lines(one)).toEqual([]);
});

test("permissions, of files, directories and the share itself", async () => {
  const one = await staged({ "run.sh": "x", "dir/": "" });
  one.put("run.sh", "x", 0o755);
  mkdirSync(join(one.upper, "dir"), { mode: 0o700 });
  chmodSync(one.upper, 0o750);
  expect(await one.changes.list()).toMatchObject([
    { kind: "mode", path: "/s", mode: 0o750, modeBefore: 0o755 },
    { kind: "mode", path: "/s/dir", mode: 0o700, modeBefore: 0o755 },
    { kind: "mode", path: "/s/run.sh", mode: 0o755, modeBefore: 0o644 },
  ]);
});

test("something of another type", async () => {
  const one = await staged({ file: "1", "dir/x": "22", other: "3" });
  mkdirSync(join(one.upper, "file"));
  one.put("file/inner", "4");
  one.put("dir", "now a file");
  symlinkSync("x", join(one.upper, "other"));
  expect(await one.changes.list()).toMatchObject([
    { kind: "type", path: "/s/dir", type: "file", typeBefore: "directory", sizeBefore: 2 },
    { kind: "type", path: "/s/file", type: "directory", typeBefore: "file" },
    { kind: "created", path: "/s/file/inner" },
    { kind: "type", path: "/s/other", type: "symlink", typeBefore: "file" },
  ]);
});

test("no paths are all changes, an empty list of them is none, and a text is no list", async () => {
  const one = await staged({ a: "1" });
  one.put("a", "2");
  one.put("b", "new");
  expect(await one.changes.diff([])).toBe("");
  expect(await one.changes.apply([])).toEqual({ applied: [], refused: [] });
  expect(await one.changes.discard([])).toEqual([]);
  for (const verb of ["diff", "apply", "discard"] as const)
    await expect(one.changes[verb]("/s/a" as never)).rejects.toThrow('a list, such as ["/project/src"]');
  expect(await one.changes.list()).toHaveLength(2);
  expect((await one.changes.apply()).applied).toHaveLength(2);
});

test("a file with another name is one that was renamed; an empty one, or one that differs, is not", async () => {
  const one = await staged({ a: "the same", b: "", c: "almost 1" });
  for (const name of ["a", "b", "c"]) one.remove(name);
  one.put("sub/a", "the same");
  one.put("sub/b", "");
  one.put("sub/c", "almost 2");
  expect(await lines(one)).toEqual([
    "deleted /s/b",
    "deleted /s/c",
    "created /s/sub/",
    "renamed /s/a to /s/sub/a",
    "created /s/sub/b",
    "created /s/sub/c",
  ]);
});

test("fifos and sockets are the guest's own affair, unless they have taken a file's place", async () => {
  const one = await staged({ file: "1" });
  mkfifo(join(one.upper, "pipe"));
  mkfifo(join(one.upper, "file"));
  expect(await lines(one)).toEqual(["deleted /s/file"]);
});

test("names are told apart and harm no terminal, whatever bytes they are", async () => {
  const one = await staged();
  const path = (name: Buffer) => Buffer.concat([Buffer.from(`${one.upper}/`), name]);
  writeFileSync(path(Buffer.from([0x66, 0xff])), "");
  writeFileSync(path(Buffer.from("\x1b[2J")), "");
  writeFileSync(path(Buffer.from("f\\xff")), "");
  writeFileSync(path(Buffer.from("blümchen 花")), "");
  const paths = (await one.changes.list()).map((change) => change.path);
  expect(paths).toEqual(["/s/\\x1b[2J", "/s/blümchen 花", "/s/f\\x5cxff", "/s/f\\xff"]);
  expect(await one.changes.discard(["/s/f\\xff"])).toMatchObject([{ path: "/s/f\\xff" }]);
});

test("what this machine has changed since the start is told, whatever times a program has set", async () => {
  const one = await staged({ a: "1", b: "2", "dir/x": "3" });
  for (const name of ["a", "b"]) one.put(name, "of the guest");
  one.remove("dir");
  one.put("new", "of the guest");
  writeFileSync(join(one.lower, "a"), "of this machine");
  writeFileSync(join(one.lower, "dir/y"), "of this machine");
  writeFileSync(join(one.lower, "new"), "of this machine");
  const told = (await one.changes.list()).map(({ path, conflict }) => [path, conflict !== undefined]);
  expect(told).toEqual([
    ["/s/a", true],
    ["/s/b", false],
    ["/s/dir", true],
    ["/s/new", true],
  ]);
});

test("a share that is no directory any more is an error that says so; its changes can be dropped all the same", async () => {
  const one = await staged({ a: "1" });
  one.put("a", "2");
  rmSync(one.lower, { recursive: true });
  await expect(one.changes.list()).rejects.toMatchObject({ code: "ENOENT", path: one.lower });
  await one.changes.discard();
  expect(await one.changes.list()).toEqual([]);
});

test("a directory that goes while it is looked at is gone, and no failure", async () => {
  const one = await staged({ "both/below": "1", "kept/a": "a" });
  one.put("both/own", "2");
  chmodSync(join(one.upper, "both"), 0o700);
  one.put("made/x", "x");
  one.put("kept/a", "b");
  const seen: string[] = [];
  for (const { path } of compare(one.staging, { isSettled: () => false })) {
    const name = path.join("/");
    seen.push(name);
    if (name === "both") rmSync(join(one.lower, name), { recursive: true }); // before it is entered
    if (name === "made") rmSync(join(one.upper, name), { recursive: true }); // once it is
  }
  expect(seen).toEqual(["both", "both/own", "kept/a", "made"]);
});
