/** Files of a sandbox by the SDK: what names there are and what they lead to, and whole trees there and back. */

import { describe, expect, test } from "bun:test";
import {
  appendFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, type Watcher } from "../../src/index.ts";
import { agent, shareSandbox, top, vm } from "./shared.ts";

shareSandbox();

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
  await expect(agent.writeFile("/tmp/into", "", { offset: 1, append: true })).rejects.toThrow(ArgumentError);
});

describe("upload and download", () => {
  test("a tree goes there and comes back: bytes, modes, times, links, holes", async () => {
    const here = join(top, "tree");
    mkdirSync(join(here, "sub"), { recursive: true });
    const noise = crypto.getRandomValues(new Uint8Array(65_536));
    writeFileSync(join(here, "big"), Buffer.concat(Array.from({ length: 300 }, () => noise)));
    writeFileSync(join(here, "sub/run.sh"), "#!/bin/sh\necho ran\n", { mode: 0o755 });
    linkSync(join(here, "sub/run.sh"), join(here, "again"));
    symlinkSync("sub/run.sh", join(here, "link"));
    for (let i = 0; i < 300; i++) writeFileSync(join(here, `sub/${i}`), `${i}\n`);
    writeFileSync(join(here, "holes"), "x");
    truncateSync(join(here, "holes"), 100_000_000);
    utimesSync(join(here, "sub"), 1_600_000_000, 1_600_000_000);

    const there = await agent.upload(here, "/tmp/up/tree", { parents: true, user: 7 });
    expect(there).toMatchObject({ entries: 307, skipped: 0 });
    expect((await agent.exec(["/tmp/up/tree/link"])).stdout).toBe("ran\n");
    expect(await agent.stat("/tmp/up/tree/again")).toMatchObject({ mode: 0o755, user: 7, links: 2 });
    expect((await agent.stat("/tmp/up/tree/sub")).mtime).toEqual(new Date(1_600_000_000_000));
    const sum = new Bun.CryptoHasher("sha256").update(readFileSync(join(here, "big"))).digest("hex");
    expect((await agent.exec("sha256sum /tmp/up/tree/big")).stdout).toStartWith(sum);

    expect(await agent.download("/tmp/up/tree", join(top, "back"))).toEqual(there);
    const { exitCode, stdout } = Bun.spawnSync(["diff", "-r", here, join(top, "back")]);
    expect([exitCode, stdout.toString()]).toEqual([0, ""]);
    expect(statSync(join(top, "back/holes")).blocks * 512).toBeLessThan(1_000_000);
    expect(statSync(join(top, "back/again")).ino).toBe(statSync(join(top, "back/sub/run.sh")).ino);
    await agent.remove("/tmp/up", { recursive: true });
  });

  test("a guest that plants a link in a share leads no download out of it", async () => {
    const outside = mkdtempSync(join(tmpdir(), "capsa-outside-"));
    try {
      await agent.exec([
        "sh",
        "-c",
        'mkdir -p /share/dl /tmp/dl/d; echo x >/tmp/dl/d/x; ln -s "$0" /share/dl/d',
        outside,
      ]);
      const moving = agent.download("/tmp/dl", join(top, "dl"));
      await expect(moving).rejects.toMatchObject({ name: "HostFileError", path: join(top, "dl/d") });
      expect(readdirSync(outside)).toEqual([]);
    } finally {
      rmSync(outside, { recursive: true });
    }
  });

  test("fifos and devices are told and left out; errors carry the path", async () => {
    await agent.exec("mkdir /tmp/sp; cd /tmp/sp; mkfifo fifo; mknod null c 1 3; touch f; chmod 6755 f");
    const skipped: string[] = [];
    const onSkip = (path: string, type: string) => skipped.push(`${path} ${type}`);
    expect(await agent.download("/tmp/sp", join(top, "sp"), { onSkip })).toMatchObject({ skipped: 2 });
    expect(skipped.sort()).toEqual([`${top}/sp/fifo fifo`, `${top}/sp/null char`]);
    expect(statSync(join(top, "sp/f")).mode & 0o7777).toBe(0o755);
    await expect(agent.download("/no/such", join(top, "x"))).rejects.toMatchObject({
      code: "ENOENT",
      path: "/no/such",
    });
    await expect(agent.upload(join(top, "none"), "/tmp/x")).rejects.toMatchObject({
      path: join(top, "none"),
    });
    await expect(agent.upload(join(top, "tree"), "/no/such/place")).rejects.toMatchObject({
      code: "ENOENT",
      op: "upload",
      path: "/no/such/place",
    });
  });
});

test("glob finds what there is", async () => {
  await agent.exec(
    "mkdir -p /tmp/g/src/lib; cd /tmp/g; touch a.c src/b.c src/lib/c.c src/lib/c.h src/.hidden.c",
  );
  expect(await agent.glob("src/**/*.c", { cwd: "/tmp/g" })).toEqual(["src/b.c", "src/lib/c.c"]);
  expect(await agent.glob("/tmp/g/*.c")).toEqual(["/tmp/g/a.c"]);
  expect(await agent.glob("*", { cwd: "/no/such" })).toEqual([]);
});

test("a tree is listed and collected, of a directory that is another user's", async () => {
  await agent.mkdir("/tmp/made/by", { recursive: true, owner: { user: 65534, group: 65534 } });
  await agent.exec("mkdir sub; echo 1 >sub/.a; echo 22 >b; ln -s /etc out", {
    cwd: "/tmp/made/by",
    user: 65534,
  });
  const listed = await agent.listDir("/tmp/made/by", { recursive: true });
  expect(listed.map(({ name, type }) => `${type} ${name}`).sort()).toEqual([
    ...["dir sub", "file b", "file sub/.a", "symlink out"],
  ]);
  const files = await agent.collect("/tmp/made/by", { maxFiles: 2, maxBytes: 4096 });
  expect([...files].map(([path, bytes]) => [path, Buffer.from(bytes).toString()]).sort()).toEqual([
    ["b", "22\n"],
    ["sub/.a", "1\n"],
  ]);
  await expect(agent.collect("/tmp/made/by", { maxFiles: 1 })).rejects.toMatchObject({
    code: "OUTPUT_TOO_LARGE",
  });
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

  test("are watched, in the guest's own files and in a share", async () => {
    for (const directory of ["/tmp/watched", "/share"]) {
      await agent.mkdir(`${directory}/sub/new`, { recursive: true });
      await using changes = agent.watch(directory, { recursive: true });
      await changes.ready;
      await agent.exec("echo 1 >sub/new/file && mv sub/new/file . && rm -r sub", {
        cwd: directory,
      });
      const seen: string[] = [];
      for await (const change of changes) {
        if (change.type === "modify") continue;
        if (change.type !== "overflow")
          seen.push(`${change.type} ${change.type === "rename" ? change.to : change.path}`);
        if (seen.at(-1) === `delete ${directory}/sub`) break;
      }
      expect(seen).toEqual(
        ["create /sub/new/file", "rename /file", "delete /sub/new", "delete /sub"].map((line) =>
          line.replace(" ", ` ${directory}`),
        ),
      );
    }
    await agent.remove("/share/file");
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

describe("what this machine changes in a share", () => {
  /** One line a change, from the start of `directory`, until the host has made `mark` in it. */
  async function until(changes: Watcher, directory: string, mark: string): Promise<string[]> {
    mkdirSync(join(top, directory, mark));
    const short = (path: string) => path.slice(`/share/${directory}/`.length);
    const seen: string[] = [];
    for (;;) {
      const { value } = await changes.next();
      if (value === undefined || value.type === "overflow") throw new Error(`no ${mark}: ${seen.join(", ")}`);
      if (value.type === "rename") seen.push(`rename ${short(value.from)} ${short(value.to)}`);
      else if (short(value.path) === mark) return seen;
      else seen.push(`${value.type} ${short(value.path)}`);
    }
  }

  test("is seen by who watches it there, at once and once; and so is what the sandbox changes", async () => {
    mkdirSync(join(top, "seen/sub"), { recursive: true });
    writeFileSync(join(top, "seen/sub/old"), "1");
    await using changes = agent.watch("/share/seen", { recursive: true });
    await changes.ready;
    expect(await agent.readTextFile("/share/seen/sub/old")).toBe("1"); // and so it is cached there

    appendFileSync(join(top, "seen/sub/old"), " and more");
    renameSync(join(top, "seen/sub/old"), join(top, "seen/moved"));
    mkdirSync(join(top, "seen/deep/er"), { recursive: true });
    expect(await until(changes, "seen", "first")).toEqual([
      ...["modify sub/old", "rename sub/old moved", "create deep", "create deep/er"],
    ]);
    expect(await agent.readTextFile("/share/seen/moved")).toBe("1 and more");
    expect(await agent.exists("/share/seen/sub/old")).toBe(false);

    symlinkSync("nowhere", join(top, "seen/deep/er/link"));
    rmSync(join(top, "seen/moved"));
    await agent.exec(
      "echo 1 >sub/own && mv sub/own sub/file && mkdir new && rmdir new && chmod 600 sub/file",
      {
        cwd: "/share/seen",
      },
    );
    appendFileSync(join(top, "seen/sub/file"), "2");
    expect((await until(changes, "seen", "second")).toSorted()).toEqual(
      [
        ...["create deep/er/link", "delete moved", "create sub/own", "modify sub/own"],
        ...["rename sub/own sub/file", "create new", "delete new", "modify sub/file"],
      ].toSorted(),
    );
  });

  test("is seen after a pause, too: what was changed meanwhile, and what is changed from then on", async () => {
    const make = (name: string) => mkdirSync(join(top, "paused", name));
    make(".");
    await using changes = agent.watch("/share/paused");
    await changes.ready;
    make("before");
    expect(await until(changes, "paused", "first")).toEqual(["create before"]);
    await Bun.sleep(100); // the guest waits for the next one
    await vm.pause();
    make("during");
    await Bun.sleep(100); // the VMM has heard of it
    await vm.resume();
    expect(await until(changes, "paused", "second")).toEqual(["create during"]);
    make("after");
    expect(await until(changes, "paused", "third")).toEqual(["create after"]);
  });
});
