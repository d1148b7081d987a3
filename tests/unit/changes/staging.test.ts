/** Where changes are kept, for how long, and where they cannot be. */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pendingChanges, StagedChanges, stageChanges } from "../../../src/changes/changes.ts";
import { createStaging, openStaging } from "../../../src/changes/staging.ts";
import { ownState, runs, staged } from "./staged.ts";

ownState();

const place = (id: string) => ({ id, runtimeDir: `/nowhere/${id}` });
const share = (host: string) =>
  ({ host, guest: "/s", mode: "transaction", ownership: { mode: "root" }, cache: "auto" }) as const;

test("changes that are kept outlive their sandbox, and are forgotten when there are none", async () => {
  const some = await staged({ a: "1" });
  some.put("a", "2");
  const none = await staged({ a: "1" });
  for (const one of [some, none]) await one.changes.end();
  expect(existsSync(none.staging.directory)).toBe(false);
  expect(await pendingChanges()).toMatchObject([{ id: some.staging.record.id, name: "box" }]);
  await some.changes.discard();
  expect(await pendingChanges()).toEqual([]);
});

test("those that are not kept end with their sandbox, and say so", async () => {
  const { lower } = await staged();
  const changes = await stageChanges(place("20000000"), "box", [share(lower)], false);
  writeFileSync(join(changes.directory, "0/upper/a"), "1");
  expect(await changes.list()).toHaveLength(1);
  await changes.end();
  expect(existsSync(changes.directory)).toBe(false);
  await expect(changes.list()).rejects.toMatchObject({
    code: "NO_CHANGES_KEPT",
    hint: expect.stringContaining("keepChanges"),
  });
});

test("a sandbox that is left to itself keeps its changes from then on", async () => {
  const { lower } = await staged();
  const changes = await stageChanges(place("20000001"), "box", [share(lower)], false);
  changes.keep();
  writeFileSync(join(changes.directory, "0/upper/a"), "1");
  await changes.end();
  expect(await changes.list()).toHaveLength(1);
  await changes.discard();
});

test("those that a dead process would not have kept go when the next sandbox starts; those of a living one stay", async () => {
  const { lower } = await staged();
  const dead = createStaging(place("20000002"), "box", [share(lower)], false);
  const path = join(dead.directory, "record.json");
  writeFileSync(
    path,
    JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), owner: { pid: 2 ** 22, start: "1" } }),
  );
  const alive = createStaging(place("20000003"), "box", [share(lower)], false);
  await staged();
  expect(openStaging("20000002")).toBeUndefined();
  expect(existsSync(dead.directory)).toBe(false);
  new StagedChanges(alive).drop();
});

test("a tree of any depth is dropped, with as many descriptors as there are", async () => {
  const one = await staged();
  const [line, leaf] = [Array(100).fill("d").join("/"), "x"];
  mkdirSync(join(one.upper, line), { recursive: true });
  for (let times = 0; times < 20; times++) {
    // what is deeper than a path is long comes about by moving trees into trees
    const deeper = join(one.upper, "e", line);
    mkdirSync(deeper, { recursive: true });
    renameSync(join(one.upper, "d"), join(deeper, "d"));
    renameSync(join(one.upper, "e/d"), join(one.upper, "d"));
  }
  writeFileSync(join(one.upper, line, leaf), "");
  await one.changes.discard();
  expect(existsSync(one.staging.directory)).toBe(false);
  expect(readdirSync(dirname(one.staging.directory))).not.toContainEqual(expect.stringContaining(".capsa-"));
});

test("while the sandbox runs nothing is forgotten, whatever is settled", async () => {
  const one = await staged({ a: "1" });
  using _running = runs(one);
  one.put("a", "2");
  await one.changes.apply();
  expect(await pendingChanges()).toHaveLength(1);
  expect(existsSync(one.staging.directory)).toBe(true);
});

test("a share that would hold its own changes is refused", async () => {
  const { staging } = await staged();
  const host = dirname(dirname(staging.directory));
  expect(() => createStaging(place("20000004"), "box", [share(host)], true)).toThrow(
    expect.objectContaining({ code: "SPEC_INVALID", hint: expect.stringContaining("XDG_STATE_HOME") }),
  );
  expect(openStaging("20000004")).toBeUndefined();
});

test("a state directory that cannot be one says so, and what to do", async () => {
  const { lower } = await staged();
  const before = process.env.XDG_STATE_HOME;
  writeFileSync(join(lower, "file"), "");
  process.env.XDG_STATE_HOME = join(lower, "file"); // root may go wherever there is a directory
  try {
    const refusal = expect.objectContaining({
      code: "STAGING_UNSUPPORTED",
      message: expect.stringContaining(`changes cannot be kept in ${lower}/file/capsa/changes: ENOTDIR`),
      hint: expect.stringContaining("XDG_STATE_HOME"),
    });
    expect(() => createStaging(place("20000005"), "box", [share("/usr")], false)).toThrow(refusal);
    await expect(pendingChanges()).rejects.toEqual(refusal);
  } finally {
    process.env.XDG_STATE_HOME = before;
  }
});
