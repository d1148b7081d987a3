/** watch: what the agent tells of changes, and what becomes of it when it ends, is slow, or has too much to tell. */

import { describe, expect, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { FileChange, Watcher, WatchOptions } from "../../../src/agent/api.ts";
import { ArgumentError } from "../../../src/errors/errors.ts";
import { agent, at, client, host, place, reconnect, serve, serveClients, servePlaces, sh } from "./served.ts";

serve();
servePlaces();
serveClients();

async function begin(options: WatchOptions = {}, path = place): Promise<Watcher> {
  const watcher = client.watch(path, options);
  await watcher.ready;
  return watcher;
}

/** One line a change, below the place. */
function line(change: FileChange): string {
  if (change.type === "overflow") return change.type;
  const short = (path: string) => path.slice(place.length + 1) || ".";
  const kind = change.directory ? `${change.type}/` : change.type;
  return change.type === "rename"
    ? `${kind} ${short(change.from)} ${short(change.to)}`
    : `${kind} ${short(change.path)}`;
}

/** What is told until a directory named `mark` is made in the place, which is done now. */
async function told(watcher: Watcher, mark = "mark"): Promise<string[]> {
  mkdirSync(at(mark));
  const lines: string[] = [];
  for (;;) {
    const { value } = await watcher.next();
    if (value === undefined) return [...lines, "end"];
    if (line(value) === `create/ ${mark}`) return lines;
    lines.push(line(value));
  }
}

describe("a directory", () => {
  test("what is made, written, renamed and removed in it, in order", async () => {
    sh("mkdir sub; echo 1 >old");
    await using watcher = await begin();
    sh("echo 2 >>old; mkdir new; mv old young; rm young; rmdir new; touch sub/unheard; chmod 700 sub");
    expect(await told(watcher)).toEqual([
      ...["modify old", "create/ new", "rename old young", "delete young", "delete/ new"],
    ]);
  });

  test("attributes when asked for", async () => {
    sh("touch file");
    await using watcher = await begin({ attributes: true });
    sh("chmod 600 file; chmod 711 .");
    expect(await told(watcher)).toEqual(["attributes file", "attributes/ ."]);
  });

  test("what comes from elsewhere, and goes there", async () => {
    sh("mkdir -p ../else; touch ../else/in out");
    await using watcher = await begin();
    sh("mv ../else/in .; mv out ../else");
    expect(await told(watcher)).toEqual(["create in", "delete out"]);
  });

  test("its end is told, and that of the iteration", async () => {
    mkdirSync(at("sub"));
    for (const end of ["rmdir sub", "mv sub gone"]) {
      sh("mkdir -p sub");
      const watcher = await begin({ recursive: true }, at("sub"));
      sh(end);
      const all: string[] = [];
      for await (const change of watcher) all.push(line(change));
      expect(all).toEqual(["delete/ sub"]);
    }
  });

  test("names of any bytes", async () => {
    await using watcher = await begin();
    sh("touch $'odd\\xff'");
    expect(await told(watcher)).toEqual(["create odd\ufffd"]);
  });

  test("what is not there, and what is no path", async () => {
    await expect(client.watch(at("none")).next()).rejects.toMatchObject({ code: "ENOENT", op: "watch" });
    await expect(client.watch(at("none")).ready).rejects.toMatchObject({ code: "ENOENT" });
    expect(() => client.watch("relative")).toThrow(ArgumentError);
  });
});

describe("all directories below", () => {
  test("new ones too, and all that is in them by then, each told once", async () => {
    sh("mkdir -p a/b");
    await using watcher = await begin({ recursive: true });
    sh("touch a/b/file; mkdir -p c/d/e; touch c/d/e/file c/file");
    const first = await told(watcher, "first");
    expect(first.toSorted()).toEqual([
      ...[
        "create a/b/file",
        "create c/d/e/file",
        "create c/file",
        "create/ c",
        "create/ c/d",
        "create/ c/d/e",
      ],
    ]);
    expect(first.indexOf("create/ c/d")).toBeLessThan(first.indexOf("create c/d/e/file"));
    sh("echo 1 >>c/d/e/file");
    expect(await told(watcher, "second")).toEqual(["modify c/d/e/file"]);
  });

  test("one that is renamed is known by its new name, with what is below it", async () => {
    sh("mkdir -p a/b/c other");
    await using watcher = await begin({ recursive: true });
    sh("mv a other/z");
    expect(await told(watcher, "first")).toEqual(["rename/ a other/z"]);
    sh("touch other/z/b/c/file; mkdir a; touch a/new");
    expect(await told(watcher, "second")).toEqual(["create other/z/b/c/file", "create/ a", "create a/new"]);
  });

  test("one that is moved in is told with what is in it; of one that is moved out nothing more is heard", async () => {
    sh("mkdir -p ../from$$ in/deep; touch in/deep/file; rm -rf ../in ../out; mv in ../in; mkdir -p out/deep");
    await using watcher = await begin({ recursive: true });
    sh("mv ../in .; mv out ../out; touch ../out/deep/unheard in/deep/more");
    expect(await told(watcher)).toEqual([
      ...["create/ in", "create/ in/deep", "create in/deep/file", "delete/ out", "create in/deep/more"],
    ]);
  });

  test("links are not followed", async () => {
    sh("mkdir -p ../linked; ln -s ../linked link");
    await using watcher = await begin({ recursive: true });
    sh("touch link/unheard; ln -s . loop");
    expect(await told(watcher)).toEqual(["create loop"]);
  });

  test("a storm of renames leaves nothing unwatched", async () => {
    sh("mkdir -p d{1..8}/x");
    await using watcher = await begin({ recursive: true });
    sh(`for i in {1..5}; do for d in {1..8}; do mv d$d t; mkdir d$d; mv t d$d/y; mv d$d/y/x d$d/x 2>/dev/null || mkdir d$d/x
      rm -rf d$d/y; done; done`);
    await told(watcher, "first");
    sh("for d in {1..8}; do touch d$d/x/file; done");
    expect((await told(watcher, "second")).filter((what) => what.endsWith("file"))).toEqual(
      Array.from({ length: 8 }, (_, i) => `create d${i + 1}/x/file`),
    );
  });
});

describe("one file", () => {
  test("is watched by its name, which may go and come again", async () => {
    sh("echo 1 >file; touch beside");
    const watcher = await begin({ recursive: true }, at("file"));
    sh("echo 2 >>beside; echo 2 >>file; rm file; echo 3 >new; mv new file; rm file");
    const all: string[] = [];
    for await (const change of watcher) {
      all.push(line(change));
      if (all.filter((what) => what === "delete file").length === 2) break;
    }
    expect(all).toEqual(["modify file", "delete file", "create file", "delete file"]);
  });

  test("that a link leads to", async () => {
    writeFileSync(at("file"), "");
    symlinkSync("file", at("link"));
    await using watcher = await begin({}, at("link"));
    writeFileSync(at("file"), "1");
    expect((await watcher.next()).value).toEqual({ type: "modify", path: at("link"), directory: false });
  });
});

describe("its end", () => {
  test("by the signal, without an error, at any time", async () => {
    const controller = new AbortController();
    const watcher = await begin({ signal: controller.signal });
    const waiting = watcher.next();
    controller.abort(new Error("enough"));
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(await watcher.next()).toEqual({ done: true, value: undefined });
  });

  test("by break, which the agent hears of", async () => {
    const watcher = await begin();
    writeFileSync(at("file"), "");
    for await (const _ of watcher) break;
    expect(await watcher.next()).toEqual({ done: true, value: undefined });
    const id = host.request("watch", { path: place });
    await host.find((frame) => frame.id === id && frame.ev === "watching");
    host.send({ id, ev: "abort" });
    expect(await host.response(id)).toMatchObject({ error: { code: "ECANCELED" } });
  });

  test("with the connection", async () => {
    const watcher = await begin();
    const waiting = watcher.next().catch((error: unknown) => error);
    await client.close();
    expect(await waiting).toMatchObject({ code: "GUEST_LOST" });
    expect(await watcher.next()).toEqual({ done: true, value: undefined });
  });
});

describe("much to tell", () => {
  test("is kept from flooding who does not take it; what was lost is told, and what comes after is whole", async () => {
    const id = host.request("watch", { path: place, recursive: true, window: 4096 });
    await host.find((frame) => frame.id === id && frame.ev === "watching");
    mkdirSync(at("late"));
    writeFileSync(at("a"), "");
    for (let i = 0; i < 5000; i++) {
      renameSync(at("a"), at("b"));
      renameSync(at("b"), at("a")); // 20,000 events: more than the kernel keeps
    }
    await host.response(host.request("ping"));
    const sent = () => host.sizes.reduce((sum, size, at) => sum + (host.frames[at]!.entries ? size : 0), 0);
    expect(sent()).toBeLessThan(16_384);
    let credited = 0;
    const overflowed = () =>
      host.frames.some((f) => f.entries?.some((e: { change: string }) => e.change === "overflow"));
    while (!overflowed()) {
      host.send({ id, credit: sent() - credited });
      credited = sent();
      await host.response(host.request("ping"));
    }
    writeFileSync(at("late/file"), "");
    while (!host.frames.some((f) => f.entries?.some((e: { path?: string }) => e.path === "late/file"))) {
      host.send({ id, credit: sent() - credited });
      credited = sent();
      await host.response(host.request("ping"));
    }
    host.send({ id, ev: "abort" });
    await reconnect();
  });

  test("a reader that sleeps holds a bounded part of it, and gets all of it in the end", async () => {
    await using watcher = await begin();
    const name = (i: number) => `${"a-long-name-".repeat(10)}${i}`;
    for (let i = 0; i < 3000; i++) mkdirSync(at(name(i)));
    await client.ping();
    const all = await told(watcher);
    expect(all).toHaveLength(3000);
    expect(all.at(-1)).toBe(`create/ ${name(2999)}`);
  });

  test("a sandbox with a watcher ends all the same", async () => {
    const { Agent } = await import("./agent.ts");
    const other = await Agent.start();
    const connection = await other.connect();
    const id = connection.request("watch", { path: place });
    await connection.find((frame) => frame.id === id && frame.ev === "watching");
    await connection.response(connection.request("shutdown"));
    expect(await other.process.exited).toBe(0);
    await other.stop();
  });
});

test("a directory that goes while its watch begins is no harm", async () => {
  for (let i = 0; i < 20; i++) {
    mkdirSync(join(place, "short/lived"), { recursive: true });
    const watcher = client.watch(at("short"), { recursive: true });
    renameSync(at("short/lived"), at("short/gone"));
    rmSync(at("short"), { recursive: true });
    await watcher.ready.catch(() => {});
    await watcher.return();
  }
  expect(await client.exists(agent.directory)).toBe(true);
});
