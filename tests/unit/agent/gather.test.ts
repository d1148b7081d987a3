/** What a hostile guest may send as a tree that is collected: no path of it leads elsewhere, and no more of it is kept than asked for. */

import { expect, test } from "bun:test";
import { Gatherer } from "../../../src/agent/tree/gather.ts";
import { writeData, writeRecord } from "../../../src/agent/tree/record.ts";

type Sent = Uint8Array | { readonly ev: string; readonly [key: string]: unknown };

const dir = (name?: string) => ({
  ev: "dir",
  ...(name === undefined ? {} : { name }),
  mode: 0o755,
  mtimeNs: 0,
});
const file = (name: string | Uint8Array) => ({ ev: "file", name, mode: 0o644, mtimeNs: 0 });
const link = (name: string, target: string) => ({ ev: "link", name, target });
const data = (text: string) => writeData(Buffer.from(text));
const end = { ev: "end" };

function gather(sent: readonly Sent[], bounds = {}): Record<string, string> {
  const gatherer = new Gatherer("/d", { maxFiles: 4, maxBytes: 4096, ...bounds });
  for (const one of sent) gatherer.push(one instanceof Uint8Array ? one : writeRecord(one));
  gatherer.finish();
  return Object.fromEntries(
    [...gatherer.files].map(([path, bytes]) => [path, Buffer.from(bytes).toString()]),
  );
}

test("files of all depths, holes as zeros, and second names; no links, fifos and directories", () => {
  expect(
    gather([
      ...[
        dir(),
        file("a"),
        data("one "),
        data("two"),
        end,
        dir("sub"),
        file(".b"),
        { ev: "hole", size: 3 },
        end,
      ],
      ...[
        { ev: "symlink", name: "l", target: "/etc", mtimeNs: 0 },
        { ev: "fifo", name: "f" },
        dir("empty"),
        end,
      ],
      ...[end, link("again", "sub/.b"), file("__proto__"), end, end],
    ]),
  ).toEqual({ a: "one two", "sub/.b": "\0\0\0", again: "\0\0\0", ["__proto__"]: "" });
});

const wrong: readonly (readonly [what: string, sent: readonly Sent[]])[] = [
  ["a way out", [dir(), file(".."), end, end]],
  ["a way down", [dir(), file("a/b"), end, end]],
  ["a NUL", [dir(), file("a\0"), end, end]],
  ["data of no file", [dir(), data("x"), end]],
  ["a hole of no file", [dir(), { ev: "hole", size: 1 }, end]],
  ["a file in a file", [dir(), file("a"), file("b"), end, end, end]],
  ["a second name of nothing", [dir(), link("a", "b"), end]],
  ["a second name of a way out", [dir(), link("a", "../b"), end]],
  ["no end", [dir(), file("a"), end]],
  ["an end too many", [dir(), end, end]],
  ["257 directories", [dir(), ...Array.from({ length: 256 }, () => dir("d"))]],
  ["what is no record", [dir(), { ev: "door", name: "x" }, end]],
];

test("what is no tree, or leads out of it, ends the connection", () => {
  for (const [what, sent] of wrong) {
    const gathered = () => gather(sent, { maxBytes: 1 << 20 });
    expect(gathered, what).toThrow(expect.objectContaining({ name: "ProtocolError" }));
  }
});

const large: readonly (readonly [what: string, option: string, sent: readonly Sent[]])[] = [
  ["files", "maxFiles", [dir(), ...["a", "b", "c", "d", "e"].flatMap((name) => [file(name), end]), end]],
  ["data", "maxBytes", [dir(), file("a"), data("x".repeat(5000)), end, end]],
  ["a hole", "maxBytes", [dir(), file("a"), { ev: "hole", size: Number.MAX_SAFE_INTEGER }, end, end]],
  ["names", "maxBytes", [dir(), ...Array.from({ length: 500 }, () => [dir("d"), end]).flat(), end]],
  [
    "second names",
    "maxBytes",
    [dir(), file("a"), data("x".repeat(2000)), end, link("b", "a"), link("c", "a"), end],
  ],
];

test.each(large)("more %s than asked for is told, with the limit %s", (_, option, sent) => {
  expect(() => gather(sent)).toThrow(
    expect.objectContaining({ code: "OUTPUT_TOO_LARGE", hint: expect.stringContaining(`raise ${option}`) }),
  );
});

test("a file in the place of the directory is told", () => {
  expect(() => gather([{ ev: "file", mode: 0, mtimeNs: 0 }, end])).toThrow(
    expect.objectContaining({ code: "ENOTDIR", message: "collect /d: it is no directory" }),
  );
});

test("names that are not UTF-8 are told, for two of them would be one", () => {
  expect(() => gather([dir(), file(Uint8Array.of(0xff)), end, end])).toThrow(
    expect.objectContaining({ code: "EILSEQ", path: "/d" }),
  );
});
