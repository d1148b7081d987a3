/** Files of a sandbox by the SDK: what names there are and what they lead to. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";

const top = mkdtempSync(join(tmpdir(), "capsa-files-"));
let vm: RunningSandbox;
let agent: Agent;

beforeAll(async () => {
  vm = await Capsa.sandbox()
    .memoryMb(256)
    .share(top, "/share", MountMode.ReadWrite)
    .run("/bin/sleep", ["100000"])
    .build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
});

afterAll(async () => {
  await agent?.close();
  await vm?.kill();
  rmSync(top, { recursive: true, force: true });
});

test("stat, chmod, chown, mkdir, symlink, readLink, rename", async () => {
  await agent.mkdir("/tmp/a/b", { recursive: true, mode: 0o700 });
  await agent.writeFile("/tmp/a/b/f", "12345");
  await agent.chmod("/tmp/a/b/f", 0o640);
  await agent.chown("/tmp/a/b/f", { user: 12, group: 34 });
  await agent.symlink("b/f", "/tmp/a/link");
  const file = { type: "file", size: 5, mode: 0o640, user: 12, group: 34, links: 1 } as const;
  const told = await agent.stat("/tmp/a/link");
  expect(told).toMatchObject(file);
  for (const time of [told.mtime, told.atime, told.ctime])
    expect(Math.abs(time.getTime() - Date.now())).toBeLessThan(600_000);
  expect(await agent.stat("/tmp/a/link", { followSymlinks: false })).toMatchObject({ type: "symlink" });
  expect(await agent.readLink("/tmp/a/link")).toBe("b/f");
  await agent.rename("/tmp/a/b", "/tmp/a/c");
  expect(await agent.exists("/tmp/a/c/f")).toBe(true);
  expect((await agent.stat("/tmp/a/c")).mode).toBe(0o700);
  await expect(agent.stat("/tmp/a/link")).rejects.toMatchObject({
    name: "AgentError",
    code: "ENOENT",
    op: "stat",
    path: "/tmp/a/link",
  });
});

test("a file is written into at an offset and at its end, also on a share", async () => {
  for (const path of ["/tmp/into", "/share/into"]) {
    await agent.writeFile(path, "0123456789");
    await agent.writeFile(path, "abc", { offset: 4 });
    await agent.writeFile(path, "!", { append: true });
    expect(await agent.readTextFile(path)).toBe("0123abc789!");
  }
  await expect(agent.writeFile("/tmp/into", "", { offset: 1, append: true })).rejects.toThrow(TypeError);
});

describe("trees", () => {
  test("are copied with all that is kept, and removed; links lead nowhere", async () => {
    await agent.exec(
      `mkdir -p /tmp/t/sub /tmp/outside; cd /tmp/t; touch /tmp/outside/kept; echo x >sub/x; ln sub/x again; ln -s sub/x link
       ln -s /tmp/outside out; chown 5:6 sub/x; chmod 4755 sub/x; touch -d @1500000000 sub; truncate -s 1G holes`,
    );
    await expect(agent.copy("/tmp/t", "/tmp/u")).rejects.toMatchObject({ code: "EISDIR", op: "copy" });
    await agent.copy("/tmp/t", "/tmp/u", { recursive: true });
    expect(await agent.stat("/tmp/u/again")).toMatchObject({ mode: 0o4755, user: 5, group: 6, links: 2 });
    expect((await agent.stat("/tmp/u/sub")).mtime).toEqual(new Date(1_500_000_000_000));
    expect(await agent.readLink("/tmp/u/out")).toBe("/tmp/outside");
    expect((await agent.exec("du -k /tmp/u/holes | cut -f1")).stdout.length).toBeLessThan(4);
    await agent.remove("/tmp/u", { recursive: true });
    expect(await agent.exists("/tmp/u")).toBe(false);
    expect(await agent.exists("/tmp/outside/kept")).toBe(true);
    await agent.remove("/tmp/u", { recursive: true, force: true });
  });

  test("go into a share, and a share is not removed", async () => {
    await agent.copy("/tmp/t/sub", "/share/copied", { recursive: true });
    expect(readdirSync(join(top, "copied"))).toEqual(["x"]);
    await expect(agent.remove("/share", { recursive: true })).rejects.toMatchObject({ code: "EBUSY" });
    expect(readdirSync(join(top, "copied"))).toEqual(["x"]);
    await agent.remove("/share/copied", { recursive: true });
    expect(readdirSync(top)).not.toContain("copied");
  });

  test("an abort ends a copy with its reason, and nothing half-made stays", async () => {
    await agent.exec("mkdir /tmp/big && dd if=/dev/zero of=/tmp/big/file bs=1M count=40");
    const reason = new Error("enough");
    const controller = new AbortController();
    const copying = agent.copy("/tmp/big", "/tmp/aborted", { recursive: true, signal: controller.signal });
    controller.abort(reason);
    await expect(copying).rejects.toBe(reason);
    await agent.ping(); // the agent has heard of it before
    expect((await agent.exec("ls -A /tmp/aborted 2>/dev/null")).stdout).toBe("");
    await agent.remove("/tmp/big", { recursive: true });
  });
});
