/** Changes taken over into the shared directory, or dropped. */
import { expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { apply } from "../../../src/changes/apply.ts";
import { headline } from "../../../src/changes/diff.ts";
import { sideOf, signature } from "../../../src/changes/side.ts";
import { lockStaging } from "../../../src/changes/staging.ts";
import { mkfifo, ownState, runs, staged } from "./staged.ts";

ownState();

/** One change of each kind that is made in a way of its own. */
async function several() {
  const files = { changed: "old", gone: "gone", "tree/a": "1", "was-dir/x": "d", mode: "m", "from/x": "x" };
  const one = await staged(files);
  one.put("changed", "new");
  one.put("sub/made", "made");
  one.remove("gone");
  one.remove("tree");
  one.put("was-dir", "a file");
  one.put("mode", "m", 0o755);
  one.renew("from");
  one.put("from/x", "another");
  one.move("from", "to");
  return one;
}

/** Everything that can happen to a file, at once. */
async function busy() {
  const one = await staged({
    "changed.txt": "old",
    "gone.txt": "gone",
    "moved.txt": "to be moved",
    "kept.txt": "kept",
    "tree/a/b": "1",
    "tree/c": "2",
    "was-file": "f",
    "was-dir/x": "d",
    "anew/old": "o",
  });
  one.put("changed.txt", "new");
  one.put("run.sh", "#!/bin/sh\n", 0o4755);
  one.remove("gone.txt");
  one.remove("moved.txt");
  one.put("sub/moved.txt", "to be moved");
  one.remove("tree");
  one.put("was-file/now", "a directory");
  one.put("was-dir", "a file");
  one.renew("anew");
  one.put("anew/new", "n");
  symlinkSync("../../outside", join(one.upper, "link"));
  return one;
}

const AFTER = {
  "anew/": "",
  "anew/new": "n",
  "changed.txt": "new",
  "kept.txt": "kept",
  link: "-> ../../outside",
  "run.sh": "#!/bin/sh\n",
  "sub/": "",
  "sub/moved.txt": "to be moved",
  "was-dir": "a file",
  "was-file/": "",
  "was-file/now": "a directory",
};

test("everything, and then nothing is left of it", async () => {
  const one = await busy();
  const { applied, refused } = await one.changes.apply();
  expect(refused).toEqual([]);
  expect(applied.map(headline)).toContain("renamed /s/moved.txt to /s/sub/moved.txt");
  expect(one.seen()).toEqual(AFTER);
  expect(statSync(join(one.lower, "run.sh")).mode & 0o7777).toBe(0o755); // no set-user-id
  expect(existsSync(one.staging.directory)).toBe(false);
  expect(await one.changes.list()).toEqual([]);
});

test("some of it: what is below a path, and the new directories above", async () => {
  const one = await staged({ a: "1", b: "2" });
  one.put("a", "11");
  one.put("b", "22");
  one.put("new/deep/x", "x");
  one.put("new/deep/y", "y");
  const { applied } = await one.changes.apply(["/s/new/deep/x", "/s/a"]);
  expect(applied.map(headline)).toEqual([
    "modified /s/a",
    "created /s/new/",
    "created /s/new/deep/",
    "created /s/new/deep/x",
  ]);
  expect(one.seen()).toEqual({ a: "11", b: "2", "new/": "", "new/deep/": "", "new/deep/x": "x" });
  expect((await one.changes.list()).map(headline)).toEqual(["modified /s/b", "created /s/new/deep/y"]);
  await expect(one.changes.apply(["/s/nothing"])).rejects.toMatchObject({ code: "NO_SUCH_CHANGE" });
});

test("the guest may go on: what was applied is a change again once it is changed again", async () => {
  const one = await staged({ a: "1" });
  using _running = runs(one);
  one.put("a", "2");
  await one.changes.apply();
  expect(await one.changes.list()).toEqual([]);
  writeFileSync(join(one.upper, "a"), "3");
  expect(await one.changes.list()).toMatchObject([{ kind: "modified", path: "/s/a" }]);
  expect((await one.changes.apply()).refused).toEqual([]); // that this machine has it changed was our own doing
  expect(one.seen()).toEqual({ a: "3" });
  // and this machine's own change to what was applied is no change of the guest's
  writeFileSync(join(one.lower, "a"), "of this machine");
  expect(await one.changes.list()).toEqual([]);
});

test("a VMM that writes where its list of what was applied is leads nobody elsewhere", async () => {
  const one = await staged({ a: "1", b: "1" });
  using _running = runs(one);
  const victim = join(dirname(one.lower), "victim");
  writeFileSync(victim, "secret 1 2 3\n");
  for (const name of ["applied", "applied.new", `applied.${process.pid}`])
    symlinkSync(victim, join(dirname(one.upper), name));
  for (const file of ["a", "b"]) {
    one.put(file, "2");
    await one.changes.apply();
    const list = join(dirname(one.upper), "applied");
    expect(lstatSync(list).isFile()).toBe(true);
    expect(readFileSync(list, "utf8")).not.toContain("secret");
    expect(readFileSync(list, "utf8")).toEndWith(` ${file}\0`); // by that path alone it was applied
    symlinkSync(victim, `${list}.link`);
    renameSync(`${list}.link`, list);
  }
  expect(readFileSync(victim, "utf8")).toBe("secret 1 2 3\n");
});

test("what was applied by a name is not when another one has it", async () => {
  const one = await staged();
  using _running = runs(one);
  const applied = () =>
    readFileSync(join(dirname(one.upper), "applied"), "utf8")
      .split("\0")
      .map((entry) => entry.split(" ").slice(4).join(" "))
      .sort();
  for (const path of ["d/f", "d/in/f", "dd/f", "\u00e9/f g"]) one.put(path, path);
  await one.changes.apply();
  expect(applied()).toEqual(["", "d/f", "d/in/f", "dd/f", "\u00e9/f g"]);
  one.put("dd/f", "again");
  one.remove("d");
  await one.changes.apply();
  expect(applied()).toEqual(["", "d", "dd/f", "\u00e9/f g"]);
});

test("what is discarded is a change again once the guest changes it again", async () => {
  const one = await staged({ a: "1", b: "2" });
  using _running = runs(one);
  one.put("a", "11");
  one.remove("b");
  expect((await one.changes.discard(["/s/b"])).map(headline)).toEqual(["deleted /s/b"]);
  expect((await one.changes.list()).map(headline)).toEqual(["modified /s/a"]);
  await one.changes.discard();
  expect(await one.changes.list()).toEqual([]);
  one.put("b", "22");
  expect((await one.changes.list()).map(headline)).toEqual(["modified /s/b"]);
  expect(one.seen()).toEqual({ a: "1", b: "2" });
});

test("one deletion is not another", async () => {
  const one = await staged({ applied: "1", discarded: "1" });
  using _running = runs(one);
  one.remove("applied");
  one.remove("discarded");
  await one.changes.apply(["/s/applied"]);
  await one.changes.discard(["/s/discarded"]);
  writeFileSync(join(one.lower, "applied"), "2");
  expect(await one.changes.list()).toEqual([]); // this machine's, and the guest has seen none of it
  for (const name of ["applied", "discarded"]) {
    renameSync(join(one.upper, name), join(one.upper, "..", name)); // its number is not given away at once
    one.remove(name);
  }
  expect((await one.changes.list()).map(headline)).toEqual(["deleted /s/applied", "deleted /s/discarded"]);
  expect((await one.changes.apply(undefined, { force: true })).refused).toEqual([]);
  expect(one.seen()).toEqual({});
});

test("nor is one that nothing marks, in a directory that the guest has made anew", async () => {
  const one = await staged({ "anew/applied": "1", "anew/discarded": "1" });
  using _running = runs(one);
  one.renew("anew");
  await one.changes.apply(["/s/anew/applied"]);
  await one.changes.discard(["/s/anew/discarded"]);
  expect(await one.changes.list()).toEqual([]);
  for (const name of ["applied", "discarded"]) {
    rmSync(join(one.lower, "anew", name), { force: true });
    writeFileSync(join(one.lower, "anew", name), "of this machine");
  }
  expect(await one.changes.list()).toMatchObject(
    ["applied", "discarded"].map((name) => ({ path: `/s/anew/${name}`, conflict: expect.any(String) })),
  );
});

test("nothing of what a directory had shows further down in the one that the guest has made anew", async () => {
  const one = await staged({ "anew/sub/old": "1", "anew/sub/sub/old": "1" });
  one.renew("anew");
  one.put("anew/sub/sub/new", "2");
  expect((await one.changes.apply()).refused).toEqual([]);
  expect(one.seen()).toEqual({ "anew/": "", "anew/sub/": "", "anew/sub/sub/": "", "anew/sub/sub/new": "2" });
});

test("a directory that this machine has removed since is made again, for what is put in it", async () => {
  const one = await staged();
  using _running = runs(one);
  one.put("made/applied", "1");
  await one.changes.apply();
  rmSync(join(one.lower, "made"), { recursive: true });
  expect(await one.changes.list()).toEqual([]);
  one.put("made/later", "2");
  expect((await one.changes.list()).map(headline)).toEqual(["created /s/made/", "created /s/made/later"]);
  expect((await one.changes.apply(["/s/made/later"])).refused).toEqual([]);
  expect(one.seen()).toEqual({ "made/": "", "made/later": "2" });
});

test("a directory that was given the number of another is another", async () => {
  const one = await staged({ "made/": "" });
  const side = sideOf(lstatSync(join(one.lower, "made"), { bigint: true }));
  expect(signature(side)).not.toBe(signature({ ...side, birthtimeNs: side.birthtimeNs + 1n }));
});

test("what this machine has changed meanwhile is refused, path by path, and taken by force", async () => {
  const one = await staged({ a: "1", b: "2", "dir/x": "3" });
  one.put("a", "guest");
  one.put("b", "guest");
  one.remove("dir");
  writeFileSync(join(one.lower, "a"), "host");
  writeFileSync(join(one.lower, "dir/y"), "host");
  const { applied, refused } = await one.changes.apply();
  expect(applied.map(headline)).toEqual(["modified /s/b"]);
  expect(refused).toMatchObject([
    { path: "/s/a", conflict: "this machine has changed it since the sandbox started" },
    { path: "/s/dir", conflict: "this machine has changed /s/dir/y since the sandbox started" },
  ]);
  expect(one.seen()).toEqual({ a: "host", b: "guest", "dir/": "", "dir/x": "3", "dir/y": "host" });
  expect((await one.changes.apply(undefined, { force: true })).refused).toEqual([]);
  expect(one.seen()).toEqual({ a: "guest", b: "guest" });
});

test("a file that is replaced has a new inode: another name of the old one keeps the old contents", async () => {
  const one = await staged({ a: "old", other: "" });
  rmSync(join(one.lower, "other"));
  linkSync(join(one.lower, "a"), join(one.lower, "other"));
  one.put("a", "new");
  await one.changes.apply(undefined, { force: true });
  expect(one.seen()).toEqual({ a: "new", other: "old" });
});

test("holes stay holes", async () => {
  const one = await staged();
  one.put("sparse", "begin");
  truncateSync(join(one.upper, "sparse"), 1 << 30);
  await one.changes.apply();
  const { size, blocks } = statSync(join(one.lower, "sparse"));
  expect(size).toBe(1 << 30);
  expect(blocks * 512).toBeLessThan(1 << 20);
});

test("what is nested too deep is told, refused and dropped, and the rest is applied", async () => {
  const one = await staged();
  one.put("a", "1");
  let deep = one.upper;
  for (let depth = 0; depth < 260; depth++) {
    deep = join(deep, "d");
    mkdirSync(deep);
  }
  const deepest = (await one.changes.list()).at(-1)!;
  expect(deepest).toMatchObject({ kind: "created", conflict: "it is nested deeper than 256 directories" });
  await one.changes.apply(["/s/a"]);
  expect(one.seen()).toEqual({ a: "1" });
  await one.changes.discard();
  expect(existsSync(one.staging.directory)).toBe(false);
});

test.skipIf(process.geteuid?.() === 0)(
  "permissions that a guest has taken away stand in nobody's way (not for root, who needs none)",
  async () => {
    const one = await staged({ a: "1" });
    one.put("a", "2");
    one.put("locked/x", "x");
    chmodSync(join(one.upper, "locked"), 0);
    const { refused } = await one.changes.apply();
    expect(refused).toMatchObject([
      { path: "/s/locked", conflict: expect.stringContaining("permission denied") },
    ]);
    await one.changes.discard();
    expect(existsSync(one.staging.directory)).toBe(false);
  },
);

test.skipIf(process.geteuid?.() !== 0)(
  "root gives a file to who had it; where ids are the host's, to whom the guest did",
  async () => {
    const { chownSync } = await import("node:fs");
    for (const [mode, uid] of [
      ["root", 1234],
      ["passthrough", 4321],
    ] as const) {
      const one = await staged({ a: "1" }, mode);
      chownSync(join(one.lower, "a"), 1234, 1234);
      chownSync(one.lower, 1234, 1234);
      one.put("a", "2");
      one.put("b", "2");
      for (const name of ["a", "b"]) chownSync(join(one.upper, name), 4321, 4321);
      await one.changes.apply(undefined, { force: true });
      for (const name of ["a", "b"]) expect(lstatSync(join(one.lower, name)).uid).toBe(uid);
    }
  },
);

test("paths are chosen of what there is once nobody else is at work", async () => {
  const one = await staged({ a: "1" });
  using _running = runs(one);
  for (const what of ["apply", "discard"] as const) {
    const other = await lockStaging(one.staging);
    const work = one.changes[what](["/s/late"]);
    await Bun.sleep(0);
    one.put("late", what);
    other[Symbol.dispose]();
    await work;
    expect(await one.changes.list()).toEqual([]);
  }
  expect(one.seen()).toEqual({ a: "1", late: "apply" });
});

test("two at once do it once", async () => {
  const one = await staged({ a: "1" });
  one.put("a", "2");
  one.put("new/b", "3");
  const results = await Promise.all([apply(one.staging, undefined, {}), apply(one.staging, undefined, {})]);
  expect(results.map(({ applied }) => applied.length).sort()).toEqual([0, 3]);
  expect(results.flatMap(({ refused }) => refused)).toEqual([]);
  expect(one.seen()).toEqual({ a: "2", "new/": "", "new/b": "3" });
});

const steps = ["journal", "made", "noted", "placed", "aside", "removed", "settled"];

test("killed at any step neither side is lost, and the next one finishes it", async () => {
  const script = join(import.meta.dir, "killed.ts");
  const died = new Set<string>();
  for (let kill = 0; ; kill++) {
    const one = await several();
    const child = Bun.spawnSync([process.execPath, script, one.staging.record.id, String(kill)], {
      env: process.env,
    });
    const step = child.stdout.toString();
    if (child.exitCode === 0) {
      expect(kill).toBeGreaterThan(15);
      break;
    }
    expect(child.signalCode).toBe("SIGKILL");
    died.add(step);
    // The file is as it was, or as it is to be, and the guest's side is whole
    expect(readFileSync(join(one.lower, "changed"), "utf8")).toMatch(/^(old|new)$/);
    expect(readFileSync(join(one.upper, "changed"), "utf8")).toBe("new");
    expect(await one.changes.list()).toEqual([]);
    // with nothing half made beside it
    expect(one.seen()).toEqual({
      changed: "new",
      "from/": "",
      "from/x": "another",
      mode: "m",
      "sub/": "",
      "sub/made": "made",
      "to/": "",
      "to/x": "x",
      "was-dir": "a file",
    });
    expect(statSync(join(one.lower, "mode")).mode & 0o777).toBe(0o755);
    expect(readdirSync(one.staging.directory)).not.toContain("apply.json");
  }
  expect([...died].sort()).toEqual([...steps].sort());
}, 60_000);

test("what this machine changes between the death and the mend is its own", async () => {
  for (const at of steps.slice(0, 4)) {
    const one = await staged({ a: "old" });
    one.put("a", "guest");
    one.put("b", "guest");
    const died = apply(one.staging, undefined, {}, (step) => {
      if (step === at) throw new Error("died");
    });
    await expect(died).rejects.toThrow("died");
    writeFileSync(join(one.lower, "a"), "host");
    const left = await one.changes.list();
    expect(one.seen()).toEqual({ a: "host", b: "guest" });
    expect(left).toMatchObject([{ path: "/s/a", conflict: expect.any(String) }]);
  }
});

test("a guest that goes on writing is not followed for ever, and a fifo is not waited for", async () => {
  const one = await staged({ a: "1" });
  one.put("a", "22");
  one.put("b", "3");
  const { applied, refused } = await apply(one.staging, undefined, {}, (step) => {
    if (step !== "journal") return;
    writeFileSync(join(one.upper, "a"), "a great deal more");
    mkfifo(join(one.upper, "b"));
  });
  expect(applied).toHaveLength(1);
  expect(refused.map(({ change }) => change)).toMatchObject([{ path: "/s/b" }]);
  expect(one.seen()).toEqual({ a: "a " });
});
