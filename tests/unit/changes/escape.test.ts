/** A guest that wants out: nothing outside of the shared directory is read or written by an apply, whatever it stages. */
import { expect, test } from "bun:test";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { apply } from "../../../src/changes/apply.ts";
import { makeWhiteout } from "../../../src/host/libc.ts";
import { ownState, type Staged, staged } from "./staged.ts";

ownState();

/** A directory beside the shared one, with something worth having. */
function outside({ lower }: Staged): string {
  const path = `${lower}-outside`;
  mkdirSync(path);
  writeFileSync(join(path, "secret"), "secret");
  return path;
}

/** What was not applied, when `act` happens at a step. */
async function meanwhile(one: Staged, step: string, act: () => void, force = true) {
  let done = false;
  const { refused } = await apply(one.staging, undefined, { force }, (at) => {
    if (at !== step || done) return;
    done = true;
    act();
  });
  expect(done).toBe(true);
  return refused.map(({ change }) => change.path);
}

test("links are made, and followed by nobody: not those that are there, not those that are staged", async () => {
  const one = await staged({ "dir/x": "1" });
  const out = outside(one);
  symlinkSync(out, join(one.lower, "way"));
  one.put("way/secret", "from the guest");
  one.put("way/new", "from the guest");
  symlinkSync(out, join(one.upper, "dir"));
  symlinkSync("../../..", join(one.upper, "up"));
  await one.changes.apply(undefined, { force: true });
  expect(one.seen()).toEqual({
    dir: `-> ${out}`,
    up: "-> ../../..",
    "way/": "",
    "way/new": "from the guest",
    "way/secret": "from the guest",
  });
  expect(readFileSync(join(out, "secret"), "utf8")).toBe("secret");
});

test("a link that takes the place of what has been looked at leads nowhere", async () => {
  const file = await staged();
  file.put("a", "1");
  const out = outside(file);
  const swap = (from: string, to: string) => {
    rmSync(from, { recursive: true });
    symlinkSync(to, from);
  };
  expect(await meanwhile(file, "journal", () => swap(join(file.upper, "a"), join(out, "secret")))).toEqual([
    "/s/a",
  ]);
  expect(file.seen()).toEqual({});

  const staging = await staged({ "dir/": "" });
  staging.put("dir/secret", "1");
  const away = () => swap(join(staging.upper, "dir"), out);
  expect(await meanwhile(staging, "journal", away)).toEqual(["/s/dir/secret"]);
  expect(staging.seen()).toEqual({ "dir/": "" });

  const shared = await staged({ "dir/secret": "1" });
  shared.put("dir/secret", "2");
  shared.put("dir/new", "2");
  const there = () => swap(join(shared.lower, "dir"), out);
  expect(await meanwhile(shared, "journal", there)).toEqual(["/s/dir/new", "/s/dir/secret"]);
  expect(readFileSync(join(out, "secret"), "utf8")).toBe("secret");
});

test("a deletion through a link that has just been put there deletes nothing", async () => {
  const one = await staged({ "dir/secret": "1", "tree/secret": "1" });
  const out = outside(one);
  one.remove("dir/secret");
  one.remove("tree");
  const refused = await meanwhile(one, "journal", () => {
    for (const name of ["dir", "tree"]) {
      rmSync(join(one.lower, name), { recursive: true });
      symlinkSync(out, join(one.lower, name));
    }
  });
  expect(refused).toEqual(["/s/dir/secret", "/s/tree"]);
  expect(readFileSync(join(out, "secret"), "utf8")).toBe("secret");
  expect(one.seen()).toEqual({ dir: `-> ${out}`, tree: `-> ${out}` });
});

test("what this machine writes at the last moment is given back to it", async () => {
  for (const step of ["made", "noted"]) {
    const one = await staged({ a: "1" });
    one.put("a", "guest");
    const write = () => {
      writeFileSync(join(one.lower, "temporary"), "this machine");
      renameSync(join(one.lower, "temporary"), join(one.lower, "a"));
    };
    expect(await meanwhile(one, step, write)).toEqual(["/s/a"]);
    expect(one.seen()).toEqual({ a: "this machine" });
  }
  const into = await staged({ "dir/x": "1", "was-dir/x": "1" });
  into.remove("dir");
  into.put("was-dir", "a file");
  const add = () => {
    for (const name of ["dir", "was-dir"]) writeFileSync(join(into.lower, name, "new"), "this machine");
  };
  expect(await meanwhile(into, "journal", add, false)).toEqual(["/s/dir", "/s/was-dir"]);
  expect(into.seen()).toMatchObject({ "dir/new": "this machine", "was-dir/new": "this machine" });
  const made = await staged();
  made.put("a", "guest");
  const write = () => writeFileSync(join(made.lower, "a"), "this machine");
  expect(await meanwhile(made, "noted", write)).toEqual(["/s/a"]);
  expect(made.seen()).toEqual({ a: "this machine" });
});

test("a layer that is a link, a file or a whiteout is an error, and no way to anywhere", async () => {
  const shapes: ((path: string, out: string) => void)[] = [
    (path, out) => symlinkSync(out, path),
    (path) => writeFileSync(path, ""),
    (path) => void makeWhiteout(path),
  ];
  for (const shape of shapes) {
    const one = await staged({ a: "1" });
    rmSync(one.upper, { recursive: true });
    shape(one.upper, outside(one));
    await expect(one.changes.apply()).rejects.toMatchObject({ name: "HostFileError", path: one.upper });
    expect(one.seen()).toEqual({ a: "1" });
    await one.changes.discard();
  }
});

test("a guest that says that all is gone deletes what is in the share, once somebody has said so, and not the share", async () => {
  const one = await staged({ a: "1", "dir/b": "2" });
  const kept = statSync(one.lower).ino;
  one.renew(".");
  expect(await one.changes.list()).toMatchObject([
    { kind: "deleted", path: "/s/a" },
    { kind: "deleted", path: "/s/dir" },
  ]);
  await one.changes.apply();
  expect(one.seen()).toEqual({});
  expect(statSync(one.lower).ino).toBe(kept);
});

test("names are only names: dots, dashes, bytes that are no text, and those that an apply itself might use", async () => {
  const one = await staged();
  const names = ["...", "..\\x", "-rf", "a\nb", ".capsa-0", "%2e%2e"].map((name) => Buffer.from(name));
  names.push(Buffer.from([0xff, 0xfe]), Buffer.alloc(255, "n"));
  const at = (top: string, name: Buffer) => Buffer.concat([Buffer.from(`${top}/`), name]);
  for (const name of names) writeFileSync(at(one.upper, name), name);
  const { refused } = await one.changes.apply();
  expect(refused).toEqual([]);
  for (const name of names) expect(readFileSync(at(one.lower, name))).toEqual(name);
});

test("a path that is asked for is a name of a change, and none of this machine", async () => {
  const one = await staged();
  one.put("a", "1");
  for (const path of ["/s/../s/a", "../a", "/", `${one.lower}/a`, "/s/a/.."]) {
    if (path === "/") continue; // above everything: all of it
    await expect(one.changes.apply([path])).rejects.toMatchObject({ code: "NO_SUCH_CHANGE" });
  }
  expect(one.seen()).toEqual({});
});

test("the shared directory is the one that the sandbox was started with, or nothing is read or written", async () => {
  for (const replace of [symlinkSync, (from: string, to: string) => renameSync(from, to)]) {
    const one = await staged({ secret: "1" });
    const out = outside(one);
    one.put("secret", "from the guest");
    one.put("new", "from the guest");
    renameSync(one.lower, `${one.lower}-aside`);
    replace(out, one.lower);
    const refused = {
      name: "HostFileError",
      code: "SHARE_REPLACED",
      hint: expect.stringContaining("discard"),
    };
    await expect(one.changes.list()).rejects.toMatchObject(refused);
    await expect(one.changes.diff()).rejects.toMatchObject(refused);
    await expect(one.changes.apply()).rejects.toMatchObject(refused);
    await expect(apply(one.staging, undefined, { force: true })).rejects.toMatchObject(refused);
    expect(readdirSync(one.lower)).toEqual(["secret"]);
    expect(readFileSync(join(one.lower, "secret"), "utf8")).toBe("secret");
    rmSync(one.lower, { recursive: true });
    renameSync(`${one.lower}-aside`, one.lower);
    expect((await one.changes.apply()).applied.map(({ path }) => path)).toEqual(["/s/new", "/s/secret"]);
  }
});

test("one that is replaced while it is written to gets nothing either, from whoever finishes the apply", async () => {
  const one = await staged({ secret: "1" });
  const out = outside(one);
  one.put("new", "from the guest");
  one.put("secret", "from the guest");
  const aside = `${one.lower}-aside`;
  expect(
    await meanwhile(one, "journal", () => {
      renameSync(one.lower, aside);
      symlinkSync(out, one.lower);
    }),
  ).toEqual(["/s/new", "/s/secret"]);
  expect(readdirSync(out)).toEqual(["secret"]);
  expect(readFileSync(join(out, "secret"), "utf8")).toBe("secret");
  rmSync(one.lower);
  renameSync(aside, one.lower);
  expect(one.seen()).toEqual({ secret: "1" });
});

test("changes whose directory is gone can be given up", async () => {
  const one = await staged({ a: "1" });
  one.put("a", "2");
  rmSync(one.lower, { recursive: true });
  mkdirSync(one.lower);
  await one.changes.discard();
  await expect(one.changes.list()).resolves.toEqual([]);
});
