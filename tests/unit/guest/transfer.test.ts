/** upload and download, by the client, with the agent on this machine: read_tree and write_tree at both their ends. */

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { writeData, writeRecord } from "../../../src/agent/tree/record.ts";
import { ArgumentError } from "../../../src/errors/errors.ts";
import type { Frame } from "./agent.ts";
import {
  client as agent,
  at,
  host,
  place,
  serve,
  serveClients,
  servePlaces,
  agent as server,
  sh,
} from "./served.ts";

serve();
servePlaces();
serveClients();

/** Everything that is kept; sizes of directories are their file system's own affair. */
const listing = (name: string) =>
  sh(
    `cd ${name} && find . -printf '%P %y %m %T@ %n %l %s\\n' | sed -E 's/^(.* d .*) [0-9]+$/\\1/' | LC_ALL=C sort`,
  );

/** A tree with one of everything that is kept. */
const TREE = `mkdir -p t/sub/deep t/ro t/empty; echo x >t/sub/x; ln t/sub/x t/again; ln t/sub/x t/sub/deep/third
  ln -s sub/x t/link; ln -s /etc t/out; ln -s nowhere t/dangling; ln -s $'\\xff' t/rawlink; touch t/$'\\xff\\xfe' t/.hidden
  echo y >t/ro/y; chmod 400 t/ro/y; chmod 750 t/sub; chmod 1777 t/empty
  truncate -s 3G t/holes; printf middle | dd of=t/holes bs=1 seek=1500000000 conv=notrunc status=none
  head -c 3000000 /dev/urandom >t/big; touch -h -d '@1500000000.123456789' t/link t/ro/y; touch -d '1965-01-02 03:04:05.75Z' t/sub; chmod 555 t/ro`;

test("collect gives the regular files, and no others, within bounds", async () => {
  sh(
    "mkdir -p t/sub; echo x >t/sub/x; ln t/sub/x t/again; touch t/.empty; ln -s sub t/link; ln -s /etc t/out; mkfifo t/p; ln -s t l",
  );
  sh("truncate -s 100000 t/holes; printf end >>t/holes");
  for (const name of ["t", "t/", "l"]) {
    const files = await agent.collect(at(name));
    expect([...files.keys()].sort()).toEqual([".empty", "again", "holes", "sub/x"]);
    expect(Buffer.from(files.get("again")!).toString()).toBe("x\n");
    expect(Buffer.from(files.get("holes")!)).toEqual(readFileSync(at("t/holes")));
  }
  const large = { code: "OUTPUT_TOO_LARGE", op: "collect", path: at("t") };
  await expect(agent.collect(at("t"), { maxFiles: 3 })).rejects.toMatchObject(large);
  await expect(agent.collect(at("t"), { maxBytes: 100_000 })).rejects.toMatchObject(large);
  await expect(agent.collect(at("t/again"))).rejects.toMatchObject({ code: "ENOTDIR", path: at("t/again") });
  await expect(agent.collect(at("none"))).rejects.toMatchObject({ code: "ENOENT" });
  expect(await agent.exists(at("t"))).toBe(true); // the connection goes on
});

describe("there and back", () => {
  test("all that is said to be kept is", async () => {
    sh(TREE);
    const there = await agent.upload(at("t"), at("u"));
    expect(listing("u")).toBe(listing("t"));
    expect(there).toMatchObject({ entries: 17, skipped: 0 });
    // what is around the middle of a file with holes is up to its file system
    expect(there.bytes).toBeWithin(3_000_010, 3_200_000);
    sh("chmod 755 t/empty u/empty"); // a sticky bit does not come back
    expect(await agent.download(at("u"), at("v"))).toEqual(there);
    expect(listing("v")).toBe(listing("t"));
    for (const name of ["u", "v"]) {
      sh(`cmp t/big ${name}/big && cmp t/sub/x ${name}/again`);
      expect(statSync(at(`${name}/again`)).ino).toBe(statSync(at(`${name}/sub/deep/third`)).ino);
      expect(statSync(at(`${name}/holes`)).blocks * 512).toBeLessThan(1_000_000);
    }
    expect(readdirSync(place).sort()).toEqual(["t", "u", "v"]);
  }, 30_000);

  test("one file, one link; a slash behind a link means what it leads to", async () => {
    sh("echo text >file; chmod 640 file; ln -s file link; mkdir dir; touch dir/x; ln -s dir dirlink");
    await agent.upload(at("file"), at("a"));
    await agent.download(at("a"), at("b"));
    expect(readFileSync(at("b"), "utf8")).toBe("text\n");
    expect(statSync(at("b")).mode & 0o7777).toBe(0o640);
    await agent.upload(at("link"), at("c"));
    await agent.download(at("c"), at("d"));
    expect(sh("readlink c d")).toBe("file\nfile\n");
    await agent.upload(`${at("dirlink")}/`, at("e"));
    await agent.download(`${at("dirlink")}/`, at("f"));
    expect(sh("ls e f")).toBe("e:\nx\n\nf:\nx\n");
    expect(await agent.download(at("dirlink"), at("g"))).toMatchObject({ entries: 1 });
    expect(sh("readlink g")).toBe("dir\n");
  });

  test("directories that are there are filled, other things in the way replaced", async () => {
    sh(`mkdir -p t/d; echo new >t/file; ln -s new t/link; ln t/file t/hard
        for i in u v; do mkdir -p $i/d; echo old >$i/file; touch $i/d/kept; ln -s file $i/link; ln $i/file $i/hard; chmod 711 $i; done`);
    await agent.upload(at("t"), at("u"));
    await agent.download(at("t"), at("v"));
    for (const name of ["u", "v"]) {
      expect(readFileSync(at(`${name}/file`), "utf8")).toBe("new\n");
      expect(sh(`ls ${name} ${name}/d; readlink ${name}/link; stat -c '%h %a' ${name}/hard ${name}`)).toBe(
        `${name}:\nd\nfile\nhard\nlink\n\n${name}/d:\nkept\nnew\n2 644\n3 711\n`,
      );
    }
    sh("mkdir -p w/file");
    await expect(agent.upload(at("t"), at("w"))).rejects.toMatchObject({
      name: "AgentError",
      code: "EISDIR",
    });
    await expect(agent.download(at("t"), at("w"))).rejects.toMatchObject({
      name: "HostFileError",
      code: "EISDIR",
      path: at("w/file"),
    });
    expect(readdirSync(at("w"))).not.toContainEqual(expect.stringContaining(".capsa"));
  });

  test("an owner is given; missing directories are made when asked for", async () => {
    sh("mkdir t; touch t/f; ln -s f t/l");
    await agent.upload(at("t"), at("a/b/u"), { parents: true, user: 12, group: 34 });
    expect(sh("stat -c %u:%g a/b/u a/b/u/f a/b/u/l a")).toBe("12:34\n12:34\n12:34\n0:0\n");
    await agent.download(at("t"), at("c/d/v"), { parents: true });
    expect(readdirSync(at("c/d/v")).sort()).toEqual(["f", "l"]);
    await expect(agent.upload(at("t"), at("x/y"))).rejects.toMatchObject({ code: "ENOENT", path: at("x/y") });
    await expect(agent.download(at("t"), at("x/y"))).rejects.toMatchObject({ code: "ENOENT", path: at("x") });
  });

  test("fifos, sockets and devices are left out, and told; set-id bits are dropped", async () => {
    sh(`mkdir t; mkfifo t/fifo; mknod t/null c 1 3; mknod t/loop b 7 0; touch t/f; chmod 7755 t/f
        python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('t/socket')"`);
    for (const way of ["upload", "download"] as const) {
      const skipped: string[] = [];
      const onSkip = (path: string, type: string) => skipped.push(`${path.slice(place.length + 1)} ${type}`);
      const done = await agent[way](at("t"), at(way), { onSkip });
      expect(done).toEqual({ entries: 2, bytes: 0, skipped: 4 });
      const root = way === "upload" ? "t" : way;
      const expected = ["fifo fifo", "loop block", "null char", "socket socket"];
      expect(skipped.sort()).toEqual(expected.map((line) => `${root}/${line}`));
      expect(sh(`stat -c '%n %a' ${way}/*`)).toBe(`${way}/f ${way === "upload" ? 1755 : 755}\n`);
      await expect(agent[way](at("t/fifo"), at("x"))).rejects.toMatchObject({ code: "EINVAL" });
    }
    expect(readdirSync(place)).not.toContain("x");
  });
});

describe("what goes wrong", () => {
  test("what is not there is told with its path, on whichever side it is", async () => {
    const none = { code: "ENOENT", path: at("none") };
    await expect(agent.upload(at("none"), at("u"))).rejects.toMatchObject({ ...none, name: "HostFileError" });
    await expect(agent.download(at("none"), at("u"))).rejects.toMatchObject({ ...none, name: "AgentError" });
    await expect(agent.upload("", at("u"))).rejects.toThrow(ArgumentError);
    await expect(agent.download("relative", at("u"))).rejects.toThrow(ArgumentError);
    expect(readdirSync(place)).toEqual([]);
  });

  test("a link that is in the way is not followed out, on either side", async () => {
    sh(
      "mkdir -p t/d outside u v; echo x >t/d/x; ln -s ../outside u/d; ln -s ../outside v/d; ln -s outside w",
    );
    await expect(agent.upload(at("t"), at("u"))).rejects.toThrow(at("u/d"));
    await expect(agent.download(at("t"), at("v"))).rejects.toMatchObject({ path: at("v/d") });
    await expect(agent.download(at("t"), at("w"))).rejects.toMatchObject({ path: at("w") });
    expect(readdirSync(at("outside"))).toEqual([]);
    await agent.download(at("t"), `${at("w")}/`);
    expect(readdirSync(at("outside"))).toEqual(["d"]);
  });

  test("a full disk, on either side: the error has the path, no file is there in part", async () => {
    writeFileSync(at("big"), Buffer.alloc(3_000_000, 1));
    sh("mkdir small && mount -t tmpfs -o size=1m none small");
    try {
      await expect(agent.upload(at("big"), at("small/big"))).rejects.toMatchObject({ code: "ENOSPC" });
      await expect(agent.download(at("big"), at("small/big"))).rejects.toMatchObject({
        code: "ENOSPC",
        path: at("small/big"),
      });
      await agent.ping();
      expect(readdirSync(at("small"))).toEqual([]);
    } finally {
      sh("umount small");
    }
  });

  test("an abort ends both with its reason and leaves no half of a file", async () => {
    sh("mkdir t; dd if=/dev/zero of=t/big bs=1M count=64 status=none");
    const before = await server.descriptors();
    const reason = new Error("enough");
    for (const way of ["upload", "download"] as const) {
      const controller = new AbortController();
      const moving = agent[way](at("t"), at(way), { signal: controller.signal });
      setImmediate(() => controller.abort(reason));
      await expect(moving).rejects.toBe(reason);
      await agent.ping();
      expect(sh(`ls -A ${way} 2>/dev/null || true`)).toBe("");
    }
    expect(await server.comesDownTo(before)).toBe(true);
  });

  test("more than is wanted is not taken", async () => {
    sh("mkdir t; head -c 20000000 /dev/zero >t/big");
    await expect(agent.download(at("t"), at("u"), { maxBytes: 1_000_000 })).rejects.toMatchObject({
      code: "OUTPUT_TOO_LARGE",
      op: "download",
    });
    expect(readdirSync(at("u"))).toEqual([]);
  });

  test("a tree that changes meanwhile: what vanishes is left out", async () => {
    sh("mkdir -p t/{1..10}; touch t/{1..10}/{1..200}");
    const [done] = await Promise.all([
      agent.download(at("t"), at("u")),
      ...readdirSync(at("t")).map((name) => agent.remove(at(`t/${name}`), { recursive: true })),
    ]);
    expect(done.entries).toBeLessThanOrEqual(2011);
  });

  test("deeper than 256 is refused on both sides", async () => {
    sh(`python3 -c "
import os
for name in ['t'] + ['a'] * 260: os.mkdir(name); os.chdir(name)"`);
    await expect(agent.upload(at("t"), at("u"))).rejects.toMatchObject({ code: "ENAMETOOLONG" });
    await expect(agent.download(at("t"), at("v"))).rejects.toMatchObject({ code: "ENAMETOOLONG" });
  });
});

test("many times the window goes through bounded memory", async () => {
  sh("head -c 200000000 /dev/zero >big");
  const grown = async (work: () => Promise<unknown>) => {
    Bun.gc(true);
    const before = process.memoryUsage().rss;
    await work();
    return process.memoryUsage().rss - before;
  };
  expect(await grown(() => agent.upload(at("big"), at("u")))).toBeLessThan(120_000_000);
  expect(await grown(() => agent.download(at("u"), at("v")))).toBeLessThan(120_000_000);
  sh("cmp big v");
}, 60_000);

describe("write_tree refuses", () => {
  const dir = { ev: "dir", mode: 0o755, mtimeNs: 0 };
  const file = { ev: "file", mode: 0o644, mtimeNs: 0 };
  const end = { ev: "end" };
  const write = async (records: (Frame | Uint8Array)[], last: "end" | "abort" = "end") => {
    const id = host.request("write_tree", { path: at("u") });
    const bytes = records.map((one) => (one instanceof Uint8Array ? one : writeRecord(one)));
    host.send({ id, ev: "data", data: new Uint8Array(Buffer.concat(bytes)) });
    host.send({ id, ev: last });
    return host.response(id);
  };
  const cases: [string, (Frame | Uint8Array)[]][] = [
    ["nothing at all", []],
    ["an end without a beginning", [end]],
    ["a directory without an end", [dir]],
    ["a file without an end", [file, writeData(Buffer.from("x"))]],
    ["what comes after the end", [dir, end, { ...dir, name: "x" }, end]],
    ["data outside of a file", [dir, writeData(Buffer.from("x")), end]],
    ["a directory in a file", [file, { ...dir, name: "x" }, end, end]],
    ["a device", [dir, { ev: "char", name: "x", mode: 0o600, mtimeNs: 0 }, end]],
    ["a root that is a link to itself", [{ ev: "link", name: "x", target: "y" }]],
    ["a record that is none", [Uint8Array.of(0, 0, 0, 1, 0xff)]],
    ["a record of 4 GiB", [Uint8Array.of(0xff, 0xff, 0xff, 0xff)]],
    ["half a record", [dir, end, Uint8Array.of(0, 0)]],
    ["no time", [{ ev: "dir", mode: 0o755 }, end]],
    ["a mode that is none", [{ ...dir, mode: 0o10755 }, end]],
    ["a link to nowhere", [dir, { ev: "symlink", name: "x", mtimeNs: 0, target: "" }, end]],
    ...["", ".", "..", "a/b", "/x", "a\0b", "x".repeat(256)].map((name): [string, Frame[]] => [
      `the name ${JSON.stringify(name.slice(0, 9))}`,
      [dir, { ...file, name }, end, end],
    ]),
  ];
  for (const [what, records] of cases) {
    test(what, async () => {
      expect(await write(records)).toMatchObject({
        ok: false,
        error: { code: expect.stringMatching(/EPROTO|EINVAL/) },
      });
      expect(readdirSync(place).filter((name) => name.startsWith("."))).toEqual([]);
    });
  }

  test("a hard link out of the tree, or through a link", async () => {
    sh("mkdir outside; touch outside/f");
    for (const target of ["../outside/f", "/etc/passwd", "a/../../outside/f", "out/f"]) {
      const out = { ev: "symlink", name: "out", mtimeNs: 0, target: "../outside" };
      const told = await write([dir, out, { ev: "link", name: "l", target }, end]);
      expect(told).toMatchObject({ ok: false });
    }
    expect(statSync(at("outside/f")).nlink).toBe(1);
  });

  test("and a file as large as none can be; an abort is told", async () => {
    const hole = { ev: "hole", size: 2 ** 53 };
    const huge = Array.from({ length: 1100 }, () => hole);
    expect(await write([file, ...huge, end])).toMatchObject({ ok: false, error: { code: "EFBIG" } });
    expect(await write([dir, end], "abort")).toMatchObject({ error: { code: "ECANCELED" } });
  });
});
