/** Shares in one another: the outer ones first, places that are missing seen all the same, and nothing made on this machine. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";
import { MEMORY } from "../../src/spec/machine.ts";
import { capableDirectory } from "../unit/changes/staged.ts";

let top: string;
let state: string;
let vm: RunningSandbox;
let agent: Agent;

beforeAll(async () => {
  state = capableDirectory();
  process.env.XDG_STATE_HOME = state;
  top = mkdtempSync(join(tmpdir(), "capsa-nested-"));
  for (const name of ["project/there", "project/half", "one", "two", "three", "four", "whole"])
    mkdirSync(join(top, name), { recursive: true });
  for (const [name, text] of Object.entries({ "project/a.txt": "a", "four/four.txt": "4", config: "c" }))
    writeFileSync(join(top, name), text);
  vm = await Capsa.sandbox()
    .memoryMb(MEMORY.least)
    .share(join(top, "four"), "/whole/deep/four", MountMode.ReadOnly)
    .share(join(top, "two"), "/project/half/new/two", MountMode.ReadWrite)
    .share(join(top, "one"), "/project/there", MountMode.ReadWrite)
    .share(join(top, "config"), "/project/etc/app.conf")
    .share(join(top, "three"), "/project/three", MountMode.Transaction)
    .share(join(top, "project"), "/project")
    .share(join(top, "whole"), "/whole", MountMode.Transaction)
    .share(join(top, "one"), "/whole/one", MountMode.ReadWrite)
    .run("/bin/sleep", ["100000"])
    .build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
});
afterAll(async () => {
  await agent?.close();
  await vm?.kill();
  delete process.env.XDG_STATE_HOME;
  for (const path of [top, state]) rmSync(path, { recursive: true, force: true });
});

const sh = async (script: string) => {
  const { exitCode, stdout, stderr } = await agent.exec(["sh", "-c", script]);
  return { exitCode, said: (stdout + stderr).trim() };
};

test("read-write in read-only, where its place is there and where it is not", async () => {
  expect(await sh("echo 1 >/project/there/x; echo 2 >/project/half/new/two/y")).toEqual({
    exitCode: 0,
    said: "",
  });
  expect([readFileSync(join(top, "one/x"), "utf8"), readFileSync(join(top, "two/y"), "utf8")]).toEqual([
    "1\n",
    "2\n",
  ]);
  for (const place of ["b", "half/b", "half/new/b", "etc/b"])
    expect(await sh(`touch /project/${place}`)).toMatchObject({
      exitCode: 1,
      said: expect.stringContaining("Read-only"),
    });
});

test("what is missing is seen, with all that is there, and this machine's changes too", async () => {
  expect(await sh("cd /project; ls; ls half half/new etc")).toEqual({
    exitCode: 0,
    said: "a.txt\netc\nhalf\nthere\nthree\netc:\napp.conf\n\nhalf:\nnew\n\nhalf/new:\ntwo",
  });
  writeFileSync(join(top, "project/half/later"), "l");
  const later = await sh(
    "for i in $(seq 50); do cat /project/half/later 2>/dev/null && break; sleep 0.1; done",
  );
  expect(later).toEqual({ exitCode: 0, said: "l" });
  rmSync(join(top, "project/half/later"));
  expect(await sh("cat /project/a.txt /project/etc/app.conf")).toEqual({ exitCode: 0, said: "ac" });
});

test("a transaction in read-only, and others in a transaction: their places are no changes", async () => {
  expect(await sh("echo 3 >/project/three/z; echo 4 >/whole/one/x; cat /whole/deep/four/four.txt")).toEqual({
    exitCode: 0,
    said: "4",
  });
  expect((await vm.changes()).map(({ kind, path }) => `${kind} ${path}`)).toEqual([
    "created /project/three/z",
  ]);
  await sh("echo own >/whole/deep/own");
  expect((await vm.changes()).map(({ kind, path }) => `${kind} ${path}`)).toEqual([
    "created /project/three/z",
    "created /whole/deep",
    "created /whole/deep/own",
  ]);
});

test("nothing was made on this machine", () => {
  const all = (name: string) => readdirSync(join(top, name), { recursive: true }).sort();
  expect([all("project"), all("whole"), all("three")]).toEqual([["a.txt", "half", "there"], [], []]);
});
