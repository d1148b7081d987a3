/** Which shares are told of, as a guest could change capsa by them. */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { noticesOfOwnFiles } from "../../../src/sandbox/own_files.ts";
import type { ShareSpec } from "../../../src/sandbox/spec.ts";
import { share } from "./spec.ts";

const PACKAGE = resolve(import.meta.dirname, "../../..");
const scratch = mkdtempSync(join(tmpdir(), "capsa-own-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const told = (host: string, mode: ShareSpec["mode"] = "rw", used: readonly (string | undefined)[] = []) =>
  noticesOfOwnFiles([share("/usr-of-guest", { host: "/usr" }), share("/x", { host, mode })], used);

test("a read-write share that holds capsa, or lies in it, by a link too", () => {
  const link = join(scratch, "link");
  symlinkSync(PACKAGE, link);
  const file = join(PACKAGE, "src/index.ts");
  for (const host of [
    PACKAGE,
    dirname(PACKAGE),
    "/",
    link,
    join(link, "src"),
    join(PACKAGE, "build"),
    file,
  ]) {
    const notices = told(host);
    expect(notices).toEqual([
      { code: "SHARE_HOLDS_CAPSA", message: expect.stringContaining(`by the share ${host} the guest may`) },
    ]);
    expect(notices[0]!.message).not.toContain("\n");
  }
});

test("Bun, the library and what else it takes count, wherever they are", () => {
  expect(told(dirname(realpathSync(process.execPath)))).toHaveLength(1);
  const library = join(scratch, "library");
  const kernel = join(scratch, "cache/kernel/1/vmlinux");
  for (const path of [library, dirname(kernel)]) mkdirSync(path, { recursive: true });
  writeFileSync(kernel, "");
  expect(told(join(scratch, "cache"))).toEqual([]);
  expect(told(join(scratch, "cache"), "rw", [undefined, kernel])).toHaveLength(1);
  const before = process.env.CAPSA_LIB_DIR;
  process.env.CAPSA_LIB_DIR = library;
  try {
    expect(told(library)).toHaveLength(1);
  } finally {
    if (before === undefined) delete process.env.CAPSA_LIB_DIR;
    else process.env.CAPSA_LIB_DIR = before;
  }
});

test("others do not: what cannot be written, and what is beside it", () => {
  expect(told(PACKAGE, "ro")).toEqual([]);
  expect(told(PACKAGE, "transaction")).toEqual([]);
  for (const host of [scratch, join(PACKAGE, "examples/python"), join(PACKAGE, "docs"), "/nonesuch"])
    expect(told(host)).toEqual([]);
});
