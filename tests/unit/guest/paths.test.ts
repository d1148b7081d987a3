/** stat, chmod, chown, mkdir, rename, symlink, read_link, remove and copy. */

import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import type { Frame } from "./agent.ts";
import { agent, at, host, place, serve, servePlaces, sh } from "./served.ts";

serve();
servePlaces();

const ask = (op: string, fields: Frame) => host.drain(host.request(op, fields));
const refused = (code: string) => ({ ok: false, error: { code } });

/** Directories within each other: a shell, which knows its path, takes minutes for many. */
const nest = (name: string, depth: number) =>
  sh(`python3 -c "
import os
for name in ['${name}'] + ['a'] * ${depth}: os.mkdir(name); os.chdir(name)"`);

describe("stat", () => {
  test("of a file, of a link, and of what it leads to", async () => {
    writeFileSync(at("file"), "12345", { mode: 0o640 });
    chownSync(at("file"), 1234, 5678);
    utimesSync(at("file"), 1_700_000_001.5, 1_700_000_000.25);
    symlinkSync("file", at("link"));
    linkSync(at("file"), at("other"));
    const file = { type: "file", size: 5, mode: 0o640, user: 1234, group: 5678, links: 2 };
    for (const path of [at("file"), at("link")]) {
      const told = await ask("stat", { path });
      expect(told).toMatchObject(file);
      expect(Number(told.mtimeMs)).toBe(1_700_000_000_250);
      expect(Number(told.atimeMs)).toBe(1_700_000_001_500);
      expect(Math.abs(Number(told.ctimeMs) - Date.now())).toBeLessThan(600_000);
    }
    expect(await ask("stat", { path: at("link"), follow: false })).toMatchObject({
      type: "symlink",
      size: 4,
    });
  });

  test("what is not there is told with its path", async () => {
    const { error } = await ask("stat", { path: at("missing") });
    expect(error).toEqual({ code: "ENOENT", message: `${at("missing")}: No such file or directory` });
  });
});

test("chmod and chown, through links and of links", async () => {
  writeFileSync(at("file"), "");
  symlinkSync("file", at("link"));
  expect(await ask("chmod", { path: at("link"), mode: 0o4711 })).toMatchObject({ ok: true });
  expect(statSync(at("file")).mode).toBe(0o104711);
  expect(await ask("chown", { path: at("link"), user: 77 })).toMatchObject({ ok: true });
  expect(await ask("chown", { path: at("link"), group: 78, follow: false })).toMatchObject({ ok: true });
  expect(statSync(at("file"))).toMatchObject({ uid: 77, gid: 0 });
  expect(lstatSync(at("link"))).toMatchObject({ uid: 0, gid: 78 });
  expect(await ask("chmod", { path: at("none"), mode: 0o644 })).toMatchObject(refused("ENOENT"));
  for (const mode of [0o10000, "755", undefined])
    expect(await ask("chmod", { path: at("file"), mode })).toMatchObject(refused("EPROTO"));
  expect(await ask("chown", { path: at("file"), user: 0xffffffff })).toMatchObject(refused("EPROTO"));
});

describe("mkdir", () => {
  test("makes one, with the mode that was asked for", async () => {
    expect(await ask("mkdir", { path: at("a"), mode: 0o1777 })).toMatchObject({ ok: true });
    expect(statSync(at("a")).mode & 0o7777).toBe(0o1777);
    expect(await ask("mkdir", { path: at("a") })).toMatchObject(refused("EEXIST"));
    expect(await ask("mkdir", { path: at("x/y") })).toMatchObject(refused("ENOENT"));
    expect(await ask("mkdir", { path: at("closed"), mode: 0 })).toMatchObject({ ok: true });
    expect(statSync(at("closed")).mode & 0o7777).toBe(0);
  });

  test("is whose it is to be, and those above it are not; one that is there stays whose it is", async () => {
    const owner = { user: 12, group: 34, mode: 0o2750, recursive: true };
    expect(await ask("mkdir", { path: at("a/b"), ...owner })).toMatchObject({ ok: true });
    expect(statSync(at("a/b"))).toMatchObject({ uid: 12, gid: 34, mode: 0o42750 });
    expect(statSync(at("a"))).toMatchObject({ uid: 0, gid: 0 });
    expect(await ask("mkdir", { path: at("a"), ...owner })).toMatchObject({ ok: true });
    expect(statSync(at("a"))).toMatchObject({ uid: 0, gid: 0, mode: 0o40755 });
    expect(await ask("mkdir", { path: at("c"), group: 34 })).toMatchObject({ ok: true });
    expect(statSync(at("c"))).toMatchObject({ uid: 0, gid: 34 });
    expect(await ask("mkdir", { path: at("d"), user: -1 })).toMatchObject(refused("EPROTO"));
    expect(existsSync(at("d"))).toBe(false);
  });

  test("recursive: those above too; one that is there stays as it is", async () => {
    expect(await ask("mkdir", { path: `${at("b/c/d")}//`, recursive: true, mode: 0o700 })).toMatchObject({
      ok: true,
    });
    expect(statSync(at("b/c")).mode & 0o7777).toBe(0o755);
    expect(statSync(at("b/c/d")).mode & 0o7777).toBe(0o700);
    expect(await ask("mkdir", { path: at("b/c"), recursive: true, mode: 0 })).toMatchObject({ ok: true });
    expect(statSync(at("b/c")).mode & 0o7777).toBe(0o755);
    writeFileSync(at("file"), "");
    expect(await ask("mkdir", { path: at("file"), recursive: true })).toMatchObject(refused("EEXIST"));
    expect(await ask("mkdir", { path: at("file/d"), recursive: true })).toMatchObject({ ok: false });
    symlinkSync("nowhere", at("dangling"));
    expect(await ask("mkdir", { path: at("dangling"), recursive: true })).toMatchObject(refused("EEXIST"));
  });
});

test("rename, symlink and read_link", async () => {
  writeFileSync(at("a"), "a");
  writeFileSync(at("b"), "b");
  expect(await ask("rename", { path: at("a"), to: at("b") })).toMatchObject({ ok: true });
  expect(readdirSync(place)).toEqual(["b"]);
  expect(readFileSync(at("b"), "utf8")).toBe("a");
  const missing = await ask("rename", { path: at("a"), to: at("c") });
  expect(missing.error.message).toContain(`${at("a")} to ${at("c")}: `);
  expect(await ask("rename", { path: at("b"), to: "relative" })).toMatchObject(refused("EINVAL"));
  expect(await ask("rename", { path: at("b") })).toMatchObject(refused("EPROTO"));

  expect(await ask("symlink", { path: at("link"), target: "../no where" })).toMatchObject({ ok: true });
  expect(readlinkSync(at("link"))).toBe("../no where");
  expect(await ask("symlink", { path: at("link"), target: "x" })).toMatchObject(refused("EEXIST"));
  expect(await ask("read_link", { path: at("link") })).toMatchObject({ target: "../no where" });
  expect(await ask("read_link", { path: at("b") })).toMatchObject(refused("EINVAL"));
  for (const target of ["", "a\0b", "x".repeat(5000), 7, undefined])
    expect(await ask("symlink", { path: at("l"), target })).toMatchObject(refused("EPROTO"));
  sh("ln -s $'\\xff' raw");
  expect([...(await ask("read_link", { path: at("raw") })).target]).toEqual([0xff]);
});

describe("write_file into a file", () => {
  async function write(text: string, fields: Frame) {
    const id = host.request("write_file", { path: at("f"), ...fields });
    host.send({ id, ev: "data", data: new Uint8Array(Buffer.from(text)) });
    host.send({ id, ev: "end" });
    return host.response(id);
  }

  test("at an offset, past its end, and at its end", async () => {
    writeFileSync(at("f"), "0123456789", { mode: 0o600 });
    const { ino } = statSync(at("f"));
    expect(await write("abc", { offset: 2 })).toMatchObject({ ok: true, size: 3 });
    expect(await write("end", { append: true })).toMatchObject({ ok: true });
    expect(await write("!", { offset: 15 })).toMatchObject({ ok: true });
    expect(readFileSync(at("f"), "latin1")).toBe("01abc56789end\0\0!");
    expect(statSync(at("f"))).toMatchObject({ ino, mode: 0o100600 });
    expect(readdirSync(place)).toEqual(["f"]);
    expect(await write("x", { append: true, offset: 0 })).toMatchObject(refused("EPROTO"));
  });

  test("makes one that is not there; what was written stays when it is given up", async () => {
    expect(await write("new", { append: true })).toMatchObject({ ok: true });
    expect(statSync(at("f")).mode & 0o777).toBe(0o644);
    const id = host.request("write_file", { path: at("f"), offset: 3 });
    host.send({ id, ev: "data", data: new Uint8Array(Buffer.from("er")) });
    host.send({ id, ev: "abort" });
    expect(await host.response(id)).toMatchObject(refused("ECANCELED"));
    expect(readFileSync(at("f"), "utf8")).toBe("newer");
  });
});

describe("remove", () => {
  test("a file, a link and not what it leads to, an empty directory", async () => {
    sh("touch file kept; ln -s kept link; mkdir empty full; touch full/x; ln -s full dirlink");
    for (const name of ["file", "link", "empty", "dirlink"])
      expect(await ask("remove", { path: at(name) })).toMatchObject({ ok: true });
    expect(readdirSync(place).sort()).toEqual(["full", "kept"]);
    expect(await ask("remove", { path: at("full") })).toMatchObject(refused("ENOTEMPTY"));
    expect(await ask("remove", { path: at("gone"), recursive: true })).toMatchObject(refused("ENOENT"));
    expect(await ask("remove", { path: at("gone"), force: true })).toMatchObject({ ok: true });
  });

  test("a tree, with what its links lead to left alone", async () => {
    sh(
      "mkdir outside; touch outside/kept; mkdir -p t/a/b t/c; touch t/a/x t/a/b/y t/.hidden; mkfifo t/fifo; ln -s ../outside t/out; ln -s $PWD/outside t/a/out; chmod 0 t/c",
    );
    expect(await ask("remove", { path: `${at("t")}/`, recursive: true })).toMatchObject({ ok: true });
    expect(readdirSync(place)).toEqual(["outside"]);
    expect(readdirSync(at("outside"))).toEqual(["kept"]);
  });

  test("1,500 directories within each other, by few descriptors", async () => {
    // no path is long enough to make them, nor to name the innermost
    nest("t", 1500);
    const before = await agent.descriptors();
    const id = host.request("remove", { path: at("t"), recursive: true });
    await host.response(host.request("ping"));
    expect(await agent.descriptors()).toBeLessThan(before + 5);
    expect(await host.drain(id)).toMatchObject({ ok: true });
    expect(readdirSync(place)).toEqual([]);
  }, 30_000);

  test("other calls have their turn, and an abort ends it", async () => {
    sh("mkdir -p t/{1..10}; touch t/{1..10}/{1..500}");
    const id = host.request("remove", { path: at("t"), recursive: true });
    const ping = host.request("ping");
    host.send({ id, ev: "abort" });
    expect(await host.response(id)).toMatchObject(refused("ECANCELED"));
    expect(await host.response(ping)).toMatchObject({ ok: true });
    expect(host.frames.findIndex((f) => f.id === ping)).toBeLessThan(
      host.frames.findIndex((f) => f.id === id),
    );
    expect(existsSync(at("t"))).toBe(true);
    expect(await ask("remove", { path: at("t"), recursive: true })).toMatchObject({ ok: true });
  }, 30_000);

  test("two at once, and names that come meanwhile", async () => {
    sh("mkdir -p t/{1..10}/{1..10}; touch t/{1..10}/{1..10}/{1..10}");
    const both = [1, 2].map(() => host.request("remove", { path: at("t"), recursive: true, force: true }));
    for (const id of both) expect(await host.drain(id)).toMatchObject({ ok: true });
    expect(readdirSync(place)).toEqual([]);
  });

  test("a mount point, and what holds one, is left alone with all in it", async () => {
    sh("mkdir -p t/mounted && mount -t tmpfs none t/mounted && touch t/mounted/kept");
    try {
      for (const name of ["t", "t/mounted"]) {
        const { error } = await ask("remove", { path: at(name), recursive: true });
        expect(error).toEqual({ code: "EBUSY", message: expect.stringContaining("t/mounted: ") });
      }
      expect(readdirSync(at("t/mounted"))).toEqual(["kept"]);
    } finally {
      sh("umount t/mounted");
    }
    for (const path of ["/", "//", `${place}/.`, `${place}/..`])
      expect(await ask("remove", { path, recursive: true })).toMatchObject({ ok: false });
  });
});

describe("copy", () => {
  test("a file: bytes, mode, owner and time; over another, in one step", async () => {
    writeFileSync(at("from"), "text", { mode: 0o640 });
    chmodSync(at("from"), 0o4750);
    utimesSync(at("from"), 1_600_000_000.5, 1_600_000_000.5);
    chownSync(at("from"), 12, 34);
    chmodSync(at("from"), 0o4750);
    writeFileSync(at("to"), "old");
    expect(await ask("copy", { path: at("from"), to: at("to") })).toMatchObject({ ok: true });
    expect(readFileSync(at("to"), "utf8")).toBe("text");
    expect(statSync(at("to"))).toMatchObject({
      mode: 0o104750,
      uid: 12,
      gid: 34,
      mtimeMs: 1_600_000_000_500,
    });
    expect(readdirSync(place).sort()).toEqual(["from", "to"]);
  });

  test("a tree: modes, times, links, hard links, special files, names that are not UTF-8", async () => {
    sh(
      `mkdir -p t/sub/deep t/ro; echo x >t/sub/x; ln t/sub/x t/again; ln t/sub/x t/sub/deep/third
       ln -s sub/x t/link; ln -s /etc t/out; ln -s nowhere t/dangling; mkfifo -m 622 t/fifo; mknod -m 640 t/null c 1 3
       echo y >t/ro/y; chmod 555 t/ro; chown 7:8 t/ro; touch t/$'\\xff'; touch -h -d @1500000000.25 t/link t/ro t/sub t`,
    );
    expect(await ask("copy", { path: at("t"), to: at("u") })).toMatchObject(refused("EISDIR"));
    expect(await ask("copy", { path: at("t"), to: at("u"), recursive: true })).toMatchObject({ ok: true });
    const list = (root: string) =>
      // the sizes of directories are the file system's own affair
      Bun.spawnSync([
        "bash",
        "-c",
        `cd ${at(root)} && find . -printf '%P %y %m %U %G %T@ %n %l\\n' | LC_ALL=C sort`,
      ]).stdout.toString();
    expect(list("u")).toBe(list("t"));
    expect(list("u").split("\n").length).toBe(15);
    const inode = (name: string) => statSync(at(name)).ino;
    expect(inode("u/again")).toBe(inode("u/sub/x"));
    expect(inode("u/again")).not.toBe(inode("t/again"));
    expect(lstatSync(at("u/null")).rdev).toBe(lstatSync(at("t/null")).rdev);
    expect(readFileSync(at("u/ro/y"), "utf8")).toBe("y\n");
  });

  test("fills a directory that is there, replacing what has a name of its own", async () => {
    sh("mkdir -p t/d; echo new >t/file; echo n >t/d/n; ln -s new t/link; ln t/file t/hard");
    sh("mkdir -p u/d; echo old >u/file; echo o >u/d/o; ln -s file u/link; ln u/file u/hard; chmod 700 u");
    expect(await ask("copy", { path: at("t"), to: at("u"), recursive: true })).toMatchObject({ ok: true });
    expect(readdirSync(at("u/d")).sort()).toEqual(["n", "o"]);
    expect(readFileSync(at("u/file"), "utf8")).toBe("new\n");
    expect(readlinkSync(at("u/link"))).toBe("new");
    expect(statSync(at("u/hard")).ino).toBe(statSync(at("u/file")).ino);
    expect(statSync(at("u")).mode & 0o777).toBe(0o700);
    expect(readdirSync(at("u")).sort()).toEqual(["d", "file", "hard", "link"]);
    sh("mkdir -p v/file");
    expect(await ask("copy", { path: at("t"), to: at("v"), recursive: true })).toMatchObject(
      refused("EISDIR"),
    );
  });

  test("a planted link is not followed into another directory", async () => {
    sh("mkdir -p t/d outside u; echo x >t/d/x; ln -s ../outside u/d");
    const { error } = await ask("copy", { path: at("t"), to: at("u"), recursive: true });
    expect(error.code).toMatch(/ELOOP|ENOTDIR/);
    expect(error.message).toContain(at("u/d"));
    expect(readdirSync(at("outside"))).toEqual([]);
  });

  test("holes stay holes", async () => {
    writeFileSync(at("from"), "begin");
    truncateSync(at("from"), 5_000_000_000);
    sh("printf end | dd of=from bs=1 seek=3000000000 conv=notrunc status=none");
    expect(await ask("copy", { path: at("from"), to: at("to") })).toMatchObject({ ok: true });
    expect(statSync(at("to")).size).toBe(5_000_000_000);
    expect(statSync(at("to")).blocks * 512).toBeLessThan(1_000_000);
    const part = await host.response(
      host.request("read_file", { path: at("to"), offset: 3_000_000_000, length: 3 }),
    );
    expect(part.size).toBe(3);
    expect(host.frames.some((f) => f.data && Buffer.from(f.data).toString() === "end")).toBe(true);
  });

  test("not into itself", async () => {
    sh("mkdir -p t/a; echo x >t/x");
    for (const to of ["t", "t/new", "t/a", "t/a/b", "t/new/"]) {
      const fields = { path: at("t"), to: at(to), recursive: true };
      expect(await ask("copy", fields)).toMatchObject(refused("EINVAL"));
    }
    expect(await ask("copy", { path: at("t/x"), to: at("t/x") })).toMatchObject(refused("EINVAL"));
    expect(readdirSync(at("t")).sort()).toEqual(["a", "x"]);
    expect(await ask("copy", { path: at("t"), to: at("tt"), recursive: true })).toMatchObject({ ok: true });
  });

  test("a full disk is told with its path, and leaves no half file", async () => {
    writeFileSync(at("big"), Buffer.alloc(3_000_000, 1));
    sh("mkdir small && mount -t tmpfs -o size=1m none small");
    try {
      const { error } = await ask("copy", { path: at("big"), to: at("small/big") });
      expect(error).toEqual({ code: "ENOSPC", message: `${at("small/big")}: No space left on device` });
      expect(readdirSync(at("small"))).toEqual([]);
    } finally {
      sh("umount small");
    }
  });

  test("is abortable, and nothing half-made stays", async () => {
    writeFileSync(at("big"), "x");
    truncateSync(at("big"), 1);
    sh("dd if=/dev/zero of=big bs=1M count=64 status=none");
    const id = host.request("copy", { path: at("big"), to: at("copy") });
    host.send({ id, ev: "abort" });
    expect(await host.response(id)).toMatchObject(refused("ECANCELED"));
    expect(readdirSync(place)).toEqual(["big"]);
  });

  test("names that vanish meanwhile are left out", async () => {
    sh("mkdir -p t/{1..10}; touch t/{1..10}/{1..200}");
    const copied = host.request("copy", { path: at("t"), to: at("u"), recursive: true });
    const removed = host.request("remove", { path: at("t"), recursive: true });
    expect(await host.drain(copied)).toMatchObject({ ok: true });
    expect(await host.drain(removed)).toMatchObject({ ok: true });
    expect(readdirSync(place)).toEqual(["u"]);
  });

  test("deeper than 256 is refused, and what can be read of /proc is copied", async () => {
    nest("t", 260);
    const { error } = await ask("copy", { path: at("t"), to: at("u"), recursive: true });
    expect(error.code).toBe("ENAMETOOLONG");
    expect(error.message).toContain("/a/a/a");
    expect(await ask("copy", { path: "/proc/version", to: at("version") })).toMatchObject({ ok: true });
    expect(readFileSync(at("version"), "utf8")).toContain("Linux");
  });
});
