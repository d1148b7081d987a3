/** What a hostile guest may send as a tree: nothing of it is written but in the directory that was chosen. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeData, writeRecord } from "../../../src/agent/tree/record.ts";
import { Unpacker } from "../../../src/agent/tree/unpack.ts";
import { FakeAgent } from "./fake.ts";

let top: string;
/** The chosen directory, and one beside it that is to stay as it is. */
let chosen: string;
let outside: string;

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "capsa-unpack-"));
  chosen = join(top, "chosen");
  outside = join(top, "outside");
  mkdirSync(outside);
  writeFileSync(join(outside, "kept"), "kept");
});
afterEach(() => {
  const left = readdirSync(outside);
  const kept = readFileSync(join(outside, "kept"), "utf8");
  const beside = readdirSync(top).sort();
  rmSync(top, { recursive: true });
  expect([left, kept]).toEqual([["kept"], "kept"]);
  expect(beside.filter((name) => name !== "chosen")).toEqual(["outside"]);
});

type Sent = Uint8Array | { readonly ev: string; readonly [key: string]: unknown };

const dir = (name?: string) => ({
  ev: "dir",
  ...(name === undefined ? {} : { name }),
  mode: 0o755,
  mtimeNs: 0,
});
const file = (name?: string, mode = 0o644) => ({
  ev: "file",
  ...(name === undefined ? {} : { name }),
  mode,
  mtimeNs: 1_500_000_000_123_456_789n,
});
const symlink = (name: string, target: string) => ({ ev: "symlink", name, target, mtimeNs: 0 });
const data = (text: string) => writeData(Buffer.from(text));
const end = { ev: "end" };

/** Unpack into `chosen`, in pieces of `step` bytes. */
function unpack(records: readonly Sent[], { step = 1 << 20 } = {}) {
  const tally = { entries: 0, bytes: 0, skipped: 0 };
  const skipped: string[] = [];
  using unpacker = new Unpacker(chosen, tally, { onSkip: (path, type) => skipped.push(`${path} ${type}`) });
  for (const record of records) {
    const bytes = record instanceof Uint8Array ? record : writeRecord(record);
    for (let at = 0; at < bytes.length; at += step) unpacker.push(bytes.subarray(at, at + step));
  }
  unpacker.finish();
  return { ...tally, names: skipped };
}

describe("what is no tree loses the guest", () => {
  const cases: [what: string, records: Sent[], why: string][] = [
    ["nothing", [], "cut short"],
    ["an end first", [end], "before it begins"],
    ["no end", [dir()], "cut short"],
    ["a file without its end", [file(), data("x")], "cut short"],
    ["half a record", [dir(), Uint8Array.of(0, 0)], "cut short"],
    ["more behind the end", [dir(), end, dir("x"), end], "behind its end"],
    ["data in a directory", [dir(), data("x"), end], "outside of its files"],
    ["a file in a file", [file(), file("x"), end, end], "has no end"],
    ["a root that is a device", [{ ev: "char" }], "no tree"],
    ["a root that is a hard link", [{ ev: "link", target: "x" }], "link to itself"],
    ["a kind that is none", [{ ev: "door", name: "x" }], '"ev" should be'],
    ["a mode that is none", [{ ...dir(), mode: 0o100755 }], '"mode" should be'],
    ["a time that is none", [{ ...dir(), mtimeNs: "now" }], '"mtimeNs" should be'],
    ["a hole of no size", [file(), { ev: "hole", size: -1 }, end], '"size" should be'],
    ["a frame of 4 GiB", [Uint8Array.of(0xff, 0xff, 0xff, 0xff)], "frame of 4294967295"],
    [
      "257 directories within each other",
      [dir(), ...Array.from({ length: 256 }, () => dir("a"))],
      "too deep",
    ],
    ["no name", [dir(), { ...file(), name: undefined }, end, end], "no string"],
    ...["", ".", "..", "../outside/x", "/etc/x", "a/b", "a\0b", "x".repeat(256)].map(
      (name): [string, Sent[], string] => [
        `the name ${JSON.stringify(name.slice(0, 12))}`,
        [dir(), file(name), data("x"), end, end],
        "cannot be one",
      ],
    ),
    ...["../outside/kept", "/etc/passwd", "d/../../outside/kept", "d//x", ""].map(
      (target): [string, Sent[], string] => [
        `a hard link to ${JSON.stringify(target)}`,
        [dir(), dir("d"), end, { ev: "link", name: "l", target }, end],
        "cannot be one",
      ],
    ),
  ];
  for (const [what, records, why] of cases) {
    test(what, () => {
      let error: unknown;
      try {
        unpack(records);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toMatchObject({ name: "ProtocolError", message: expect.stringContaining(why) });
      // nothing half-made
      const names = lstatSync(chosen, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(chosen) : [];
      expect(names.filter((name) => name.startsWith(".capsa"))).toEqual([]);
    });
  }
});

test("the same bytes in whatever pieces they come", () => {
  const records = [
    dir(),
    file("f", 0o640),
    data("one "),
    { ev: "hole", size: 4 },
    data("two"),
    end,
    symlink("l", "f"),
    end,
  ];
  for (const step of [1, 3, 1000]) {
    expect(unpack(records, { step })).toEqual({ entries: 3, bytes: 7, skipped: 0, names: [] });
    expect(readFileSync(join(chosen, "f"), "latin1")).toBe("one \0\0\0\0two");
    expect(statSync(join(chosen, "f"))).toMatchObject({ mode: 0o100640 });
    expect(statSync(join(chosen, "f"), { bigint: true }).mtimeNs).toBe(1_500_000_000_123_456_789n);
    expect(readlinkSync(join(chosen, "l"))).toBe("f");
  }
});

test("a link is made as it is, and never written through, whatever is sent under its name next", () => {
  const through = (last: Sent[]) => () =>
    unpack([dir(), symlink("l", outside), symlink("k", join(outside, "kept")), ...last]);
  expect(through([dir("l"), file("x"), data("x"), end, end, end])).toThrow(join(chosen, "l"));
  expect(through([{ ev: "link", name: "x", target: "l/kept" }, end])).toThrow();
  through([file("k"), data("mine"), end, end])();
  expect(lstatSync(join(chosen, "k")).isFile()).toBe(true);
  // the very link, not what it leads to
  through([{ ev: "link", name: "x", target: "k" }, end])();
  expect(readlinkSync(join(chosen, "x"))).toBe(join(outside, "kept"));
});

test("a link in the place of the whole, or of a directory that was entered, is not followed", () => {
  symlinkSync(outside, chosen);
  expect(() => unpack([dir(), file("x"), data("x"), end, end])).toThrow("on this machine");
  rmSync(chosen);
  // whoever can write there meanwhile, as a guest can in a share, swaps directories for links
  const swap = () => {
    renameSync(join(chosen, "d"), join(chosen, "moved"));
    symlinkSync(outside, join(chosen, "d"));
  };
  unpack([dir(), dir("d"), file("kept"), data("new"), { ev: "end" }, end, end]);
  using unpacker = new Unpacker(chosen, { entries: 0, bytes: 0, skipped: 0 });
  for (const record of [dir(), dir("d"), file("kept")]) unpacker.push(writeRecord(record));
  swap();
  for (const record of [data("newer"), ...[end, end, end].map(writeRecord)]) unpacker.push(record);
  unpacker.finish();
  expect(readFileSync(join(chosen, "moved/kept"), "utf8")).toBe("newer");
});

test("devices, fifos and sockets are left out and told; set-id and sticky bits are dropped", () => {
  const special = ["fifo", "socket", "char", "block"].map((ev) => ({
    ev,
    name: ev,
    mode: 0o6666,
    mtimeNs: 0,
  }));
  const { names, ...tally } = unpack([
    dir(),
    ...special,
    file("f", 0o7755),
    end,
    { ...dir("d"), mode: 0o7777 },
    end,
    end,
  ]);
  expect(tally).toEqual({ entries: 3, bytes: 0, skipped: 4 });
  expect(names).toEqual(["fifo", "socket", "char", "block"].map((type) => `${join(chosen, type)} ${type}`));
  expect(readdirSync(chosen).sort()).toEqual(["d", "f"]);
  expect(statSync(join(chosen, "f")).mode & 0o7777).toBe(0o755);
  expect(statSync(join(chosen, "d")).mode & 0o7777).toBe(0o777);
});

test("a file that was there is replaced, not written into: its other names keep what they have", () => {
  mkdirSync(chosen);
  writeFileSync(join(chosen, "a"), "old");
  const { ino } = statSync(join(chosen, "a"));
  unpack([dir(), { ev: "link", name: "b", target: "a" }, file("b"), data("new"), end, end]);
  expect(readFileSync(join(chosen, "a"), "utf8")).toBe("old");
  expect(statSync(join(chosen, "a")).ino).toBe(ino);
  expect(readFileSync(join(chosen, "b"), "utf8")).toBe("new");
});

test("a guest that sends what is no tree is lost, with the reason", async () => {
  await using fake = new FakeAgent((message, peer) => {
    if (message.op !== "read_tree") return;
    const records = [dir(), file("../outside/x")].map((record) => writeRecord(record));
    peer.send({ id: message.id, ev: "data", data: new Uint8Array(Buffer.concat(records)) });
  });
  await using agent = await fake.connect();
  await expect(agent.download("/x", chosen)).rejects.toMatchObject({
    code: "GUEST_LOST",
    message: expect.stringContaining("a name in a tree cannot be one"),
  });
});

test("one that says more or less than it sent is lost too", async () => {
  const tree = Buffer.concat([dir(), end].map((record) => writeRecord(record)));
  await using fake = new FakeAgent((message, peer) => {
    if (message.op !== "read_tree") return;
    peer.send({ id: message.id, ev: "data", data: new Uint8Array(tree) });
    peer.send({ id: message.id, ok: true, size: tree.length + 1 });
  });
  await using agent = await fake.connect();
  await expect(agent.download("/x", chosen)).rejects.toMatchObject({ code: "GUEST_LOST" });
});
