/** A sandbox's initrd: the base with the guest's plan behind it, whatever has the base's name by then. */

import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeInitrd } from "../../../src/image/initrd.ts";

let top: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "capsa-initrd-"));
});
afterEach(() => rmSync(top, { recursive: true }));

test("the plan is behind the base, where the kernel looks for another archive", async () => {
  const base = join(top, "base");
  writeFileSync(base, "12345");
  const path = await writeInitrd(top, base, { hostname: "box" });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const written = readFileSync(path);
  expect(written.subarray(0, 14).toString()).toBe(`12345${"\0".repeat(3)}070701`);
  expect(written.includes("capsa/plan.cbor")).toBe(true);
});

test("a FIFO, a device and a directory are refused, and not waited for", async () => {
  const fifo = join(top, "fifo");
  Bun.spawnSync(["mkfifo", fifo]);
  for (const base of [fifo, "/dev/zero", top]) {
    await expect(writeInitrd(top, base, {})).rejects.toThrow(
      expect.objectContaining({ code: "EINVAL", message: expect.stringContaining("not a regular file") }),
    );
  }
});
