/** What the arguments of `capsa cp` mean. */
import { describe, expect, test } from "bun:test";
import { type Found, parseEnd, placeCopy } from "../../../src/cli/verbs/cp.ts";

describe("a path here, or in a sandbox", () => {
  const cases: [string, ReturnType<typeof parseEnd>][] = [
    ["box:/etc/hosts", { name: "box", path: "/etc/hosts" }],
    ["box:tmp", { name: "box", path: "/tmp" }],
    ["box:/a:b", { name: "box", path: "/a:b" }],
    ["./a:b", { path: "./a:b" }],
    ["/a:b", { path: "/a:b" }],
    ["plain", { path: "plain" }],
    [":x", { path: ":x" }],
  ];
  for (const [text, end] of cases) test(text, () => expect(parseEnd(text)).toEqual(end));

  for (const text of ["", "box:", "-"]) {
    test(`${JSON.stringify(text)} is neither`, () => expect(() => parseEnd(text)).toThrow());
  }
});

describe("where it goes", () => {
  const cases: [source: string, destination: string, found: Found, from: string, to: string][] = [
    ["file", "/tmp", "dir", "file", "/tmp/file"],
    ["file", "/tmp/", "dir", "file", "/tmp/file"],
    ["a/file", "/tmp/new", undefined, "a/file", "/tmp/new"],
    ["a/file", "/tmp/old", "other", "a/file", "/tmp/old"],
    ["a/dir/", "/tmp", "dir", "a/dir/", "/tmp/dir"],
    ["a/dir/.", "/tmp", "dir", "a/dir/./", "/tmp/"],
    ["a/dir/./", "/tmp/new", undefined, "a/dir/./", "/tmp/new"],
    [".", "/tmp", "dir", "./", "/tmp/"],
    ["..", "/tmp/new", undefined, "../", "/tmp/new"],
    ["/", "out", "dir", "/", "out/"],
    ["/etc", "/", "dir", "/etc", "/etc"],
  ];
  for (const [source, destination, found, from, to] of cases) {
    test(`${source} to ${destination}, ${found ?? "nothing"} there`, () =>
      expect(placeCopy(source, destination, found)).toEqual({ from, to }));
  }

  test("a slash behind what is no directory is an error", () => {
    for (const found of [undefined, "other"] as const)
      expect(() => placeCopy("file", "/tmp/new/", found)).toThrow("/tmp/new/ is no directory");
  });
});
