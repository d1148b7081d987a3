/** Directories that a guest has renamed: in its layer there is a mark, and what was not changed is where it was. */
import { expect, test } from "bun:test";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { summary } from "../../../src/changes/diff.ts";
import { attribute, setAttribute } from "../../../src/host/libc.ts";
import { ownState, runs, type Staged, staged } from "./staged.ts";

ownState();

const FILES = { "old/a": "a", "old/b": "b", "old/sub/c": "c", kept: "k" };

async function moved() {
  const one = await staged(FILES);
  one.move("old", "new");
  one.put("new/a", "A");
  one.remove("new/b");
  one.put("new/made", "m");
  return one;
}

test("what is in one shows under its new name, and is taken over before the old one goes", async () => {
  const one = await moved();
  expect((await one.changes.list()).map(summary)).toEqual([
    "created /s/new/",
    "created /s/new/a (1 bytes)",
    "created /s/new/made (1 bytes)",
    "created /s/new/sub/",
    "created /s/new/sub/c (1 bytes)",
    "deleted /s/old/ (3 bytes)",
  ]);
  expect(await one.changes.diff(["/s/new/sub/c"])).toContain("+c\n");
  expect((await one.changes.apply()).refused).toEqual([]);
  expect(one.seen()).toEqual({
    kept: "k",
    "new/": "",
    "new/a": "A",
    "new/made": "m",
    "new/sub/": "",
    "new/sub/c": "c",
  });
  expect(await one.changes.list()).toEqual([]);
});

test("nothing that the guest still needs is removed", async () => {
  const one = await moved();
  const { applied, refused } = await one.changes.apply(["/s/old"]);
  expect(applied).toEqual([]);
  expect(refused).toMatchObject([
    { path: "/s/old", conflict: expect.stringContaining("/s/new now: apply that first") },
  ]);
  expect((await one.changes.apply(["/s/new"])).refused).toEqual([]);
  expect((await one.changes.list()).map(summary)).toEqual(["deleted /s/old/ (3 bytes)"]);
  expect((await one.changes.apply()).refused).toEqual([]);
  expect(Object.keys(one.seen())).not.toContain("old/");
});

/** What the mark of a directory in the layer says. */
const markOf = (one: Staged, path: string) => attribute(join(one.upper, path), "user.overlay.redirect", 4096);

test("its old name may be another one's by now", async () => {
  const one = await staged(FILES);
  using _running = runs(one);
  one.renew("old");
  one.put("old/a", "another");
  one.move("old", "new");
  // not before what the guest has there by another name
  expect((await one.changes.apply(["/s/old/a"])).refused).toMatchObject([
    { path: "/s/old/a", conflict: "what is in it is /s/new now: apply that first" },
  ]);
  expect(markOf(one, "new")).toBeDefined();
  expect((await one.changes.apply()).refused).toEqual([]);
  expect(markOf(one, "new")).toBeUndefined();
  expect(await one.changes.list()).toEqual([]);
  expect(one.seen()).toEqual({
    kept: "k",
    "new/": "",
    "new/a": "a",
    "new/b": "b",
    "new/sub/": "",
    "new/sub/c": "c",
    "old/": "",
    "old/a": "another",
  });
});

test("a directory below one that was renamed has its own place, and marks of its own", async () => {
  const one = await staged(FILES);
  one.move("old", "new");
  one.move("old/sub", "sub");
  one.remove("new/sub");
  expect((await one.changes.apply()).refused).toEqual([]);
  expect(one.seen()).toEqual({ kept: "k", "new/": "", "new/a": "a", "new/b": "b", "sub/": "", "sub/c": "c" });
});

test("one may have taken the place of another", async () => {
  const one = await staged({ "a/x": "a", "b/x": "b", "c/x": "c" });
  using _running = runs(one);
  one.move("c", "d");
  one.move("b", "c");
  one.move("a", "b");
  expect((await one.changes.apply()).refused).toEqual([]);
  expect(one.seen()).toEqual({ "b/": "", "b/x": "a", "c/": "", "c/x": "b", "d/": "", "d/x": "c" });
  expect(["b", "c", "d"].map((path) => markOf(one, path))).toEqual([undefined, undefined, undefined]);
  expect(await one.changes.list()).toEqual([]);
});

test("nothing is made where the guest would see it by another name", async () => {
  const one = await staged({ "one/x": "1", "two/y": "2", "in/z": "3" });
  one.move("one", "two");
  one.move("two", "one");
  one.renew("in");
  one.move("in", "in/deeper");
  const { applied, refused } = await one.changes.apply();
  expect(applied).toEqual([]);
  for (const { conflict } of refused) expect(conflict).toContain("rename one in the guest first");
  expect(refused.map(({ path }) => path)).toContain("/s/in/deeper");
  expect(one.seen()).toEqual({ "in/": "", "in/z": "3", "one/": "", "one/x": "1", "two/": "", "two/y": "2" });
});

test("two that have changed places are refused, and both sides are whole", async () => {
  const one = await staged({ "one/x": "1", "two/x": "2" });
  one.move("one", "two");
  one.move("two", "one");
  const { applied, refused } = await one.changes.apply();
  expect(applied).toEqual([]);
  expect(refused.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
    "modified /s/one/x",
    "modified /s/two/x",
  ]);
  expect(one.seen()).toEqual({ "one/": "", "one/x": "1", "two/": "", "two/x": "2" });
  expect(await one.changes.list()).toHaveLength(2);
});

test("what this machine has put in its place is not taken for it", async () => {
  const one = await moved();
  renameSync(join(one.lower, "old"), join(one.lower, "elsewhere"));
  mkdirSync(join(one.lower, "old"));
  writeFileSync(join(one.lower, "old/of the host"), "h");
  const paths = (await one.changes.list()).map(({ kind, path }) => `${kind} ${path}`);
  expect(paths).toEqual(["created /s/new", "created /s/new/a", "created /s/new/made", "deleted /s/old"]);
});

test("one directory does not show in two places", async () => {
  const one = await staged(FILES);
  one.move("old", "new");
  one.move("old", "newer");
  expect((await one.changes.list()).map(({ path }) => path)).toEqual([
    ...["/s/new", "/s/new/a", "/s/new/b", "/s/new/sub", "/s/new/sub/c"],
    ...["/s/newer", "/s/old"],
  ]);
});

test("a mark leads nowhere out of the share, nor round in circles", async () => {
  const one = await moved();
  for (const [at, mark] of ["1-1/..", "1-1/../..", "1-1//", "1-1/.", "x", "1-1/kept", "1-1/new"].entries()) {
    mkdirSync(join(one.upper, `m${at}`));
    setAttribute(join(one.upper, `m${at}`), "user.overlay.redirect", mark);
  }
  const paths = (await one.changes.list()).map(({ path }) => path);
  expect(paths.filter((path) => path.startsWith("/s/m"))).toEqual(
    [0, 1, 2, 3, 4, 5, 6].map((at) => `/s/m${at}`),
  );
});
