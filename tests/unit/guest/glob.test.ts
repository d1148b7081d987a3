/** list_tree, and what glob makes of it. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type * as api from "../../../src/agent/api.ts";
import { ArgumentError } from "../../../src/errors/errors.ts";
import type { Frame } from "./agent.ts";
import { client as agent, at, host, place, serve, serveClients, servePlaces, sh } from "./served.ts";

serve();
servePlaces();
serveClients();

async function list(path: string, fields: Frame = {}) {
  const id = host.request("list_tree", { path, ...fields });
  const response = await host.drain(id);
  const entries = host.frames.filter((f) => f.id === id && f.entries).flatMap((f) => f.entries as Frame[]);
  return { response, paths: entries.map(({ path }) => path).sort(), entries };
}

const TREE =
  "mkdir -p src/lib/deep .git docs; touch a.c src/b.c src/b.h src/lib/c.c src/lib/deep/d.c .git/x.c docs/.e.c; ln -s src link";

describe("list_tree", () => {
  test("all below a directory, to a depth; links are not followed but at its root", async () => {
    sh(TREE);
    expect((await list(place)).paths).toEqual([
      ...[".git", ".git/x.c", "a.c", "docs", "docs/.e.c", "link", "src", "src/b.c", "src/b.h", "src/lib"],
      ...["src/lib/c.c", "src/lib/deep", "src/lib/deep/d.c"],
    ]);
    expect((await list(place, { depth: 0 })).paths).toEqual([".git", "a.c", "docs", "link", "src"]);
    expect((await list(join(place, "link"), { depth: 1 })).paths).toEqual([
      ...["b.c", "b.h", "lib", "lib/c.c", "lib/deep"],
    ]);
    const { entries } = await list(place);
    expect(entries.find(({ path }) => path === "link")).toEqual({ path: "link", type: "symlink" });
  });

  test("within the window, by turns, and to an abort", async () => {
    sh("mkdir -p {1..20}; touch {1..20}/a-file-with-a-rather-long-name-{1..200}");
    const id = host.request("list_tree", { path: place, window: 50_000 });
    await host.find((frame) => frame.id === id && frame.ev === "entries");
    await host.response(host.request("ping"));
    const sent = host.frames.reduce((sum, frame, at) => sum + (frame.id === id ? host.sizes[at]! : 0), 0);
    expect(sent).toBeLessThan(51_000);
    host.send({ id, ev: "abort" });
    expect(await host.drain(id)).toMatchObject({ error: { code: "ECANCELED" } });
    expect((await list(place)).paths).toHaveLength(4020);
  });

  test("listDir tells all of it of each, names that begin with a dot and that are no text too", async () => {
    sh(
      "mkdir -p a/.b; printf 12345 >a/.b/c; chmod 640 a/.b/c; touch -d @1500000000 a/.b/c; ln -s .. a/up; touch a/$'\\xff'",
    );
    const found = await agent.listDir(place, { recursive: true });
    const byName = (one: { name: string }, other: { name: string }) => (one.name < other.name ? -1 : 1);
    expect(found.sort(byName)).toMatchObject([
      { name: "a", type: "dir", mode: 0o755 },
      { name: "a/.b", type: "dir" },
      { name: "a/.b/c", type: "file", size: 5, mode: 0o640, mtime: new Date(1_500_000_000_000) },
      { name: "a/up", type: "symlink" },
      { name: "a/\ufffd", nameBytes: new Uint8Array([0x61, 0x2f, 0xff]), type: "file", size: 0 },
    ]);
    await expect(agent.listDir(place, { recursive: true, maxBytes: 100 })).rejects.toMatchObject({
      code: "OUTPUT_TOO_LARGE",
    });
    await expect(agent.listDir(at("none"), { recursive: true })).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("what is no directory, or not there, is told", async () => {
    sh("touch file");
    expect((await list(join(place, "file"))).response.error.code).toBe("ENOTDIR");
    expect((await list(join(place, "none"))).response.error.code).toBe("ENOENT");
    expect((await list(place, { depth: -1 })).response.error.code).toBe("EPROTO");
  });
});

describe("glob", () => {
  const cases: [pattern: string, options: api.GlobOptions, found: string[]][] = [
    ["*.c", {}, ["a.c"]],
    ["*", {}, ["a.c", "docs", "link", "src"]],
    ["**/*.c", {}, ["a.c", "src/b.c", "src/lib/c.c", "src/lib/deep/d.c"]],
    ["**/*.c", { dot: true }, [".git/x.c", "a.c", "docs/.e.c", "src/b.c", "src/lib/c.c", "src/lib/deep/d.c"]],
    [".git/*", {}, [".git/x.c"]],
    ["docs/.*", {}, ["docs/.e.c"]],
    ["src/*", {}, ["src/b.c", "src/b.h", "src/lib"]],
    ["src/*.[ch]", {}, ["src/b.c", "src/b.h"]],
    ["src/{b.c,lib/c.c}", {}, ["src/b.c", "src/lib/c.c"]],
    ["*/*/*.c", {}, ["src/lib/c.c"]],
    ["link/*.c", {}, ["link/b.c"]],
    ["src/b.c", {}, ["src/b.c"]],
    ["src/none", {}, []],
    ["none/*", {}, []],
    ["a.c/*", {}, []],
  ];
  for (const [pattern, options, found] of cases) {
    test(`${pattern}${options.dot ? " with dots" : ""}`, async () => {
      sh(TREE);
      expect(await agent.glob(pattern, { cwd: place, ...options })).toEqual(found);
      expect(await agent.glob(`${place}/${pattern}`, options)).toEqual(
        found.map((name) => `${place}/${name}`),
      );
    });
  }

  test("what is no pattern, or no directory to begin at", async () => {
    await expect(agent.glob("")).rejects.toThrow(ArgumentError);
    await expect(agent.glob("*", { cwd: "relative" })).rejects.toThrow(ArgumentError);
  });
});
