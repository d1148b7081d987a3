/** The log of what the proxy refuses: a file that it has from the start, whatever its path leads to later. */

import { afterAll, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RefusalLog } from "../../../src/secrets/proxy/log.ts";

const top = mkdtempSync(join(tmpdir(), "capsa-log-"));
const victim = join(top, "victim");
let count = 0;
let path: string;

beforeEach(() => {
  path = join(top, `log${++count}`);
  writeFileSync(victim, "line\n".repeat(300_000));
});

afterAll(() => rmSync(top, { recursive: true }));

test("a line a refusal, which a terminal does not obey", () => {
  const log = new RefusalLog(path);
  log.add("host.test", 443, "no\u001b[31m\u009bway");
  expect(readFileSync(path, "utf8")).toMatch(
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ tcp host\.test:443 refused: no\\x1b\[31m\\x9bway\n$/,
  );
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("past a megabyte the older half goes", () => {
  const log = new RefusalLog(path);
  for (let i = 0; i < 1500; i++) log.add("host.test", i, "x".repeat(1000));
  expect(statSync(path).size).toBeLessThanOrEqual(1 << 20);
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  expect(lines.at(-1)).toContain("host.test:1499 refused");
  for (const line of lines) expect(line).toMatch(/^\d{4}-.*x$/);
});

test("a link in its place is not written through, before the start or after", () => {
  symlinkSync(victim, path);
  new RefusalLog(path).add("host.test", 443, "no");
  rmSync(path);
  const log = new RefusalLog(path);
  renameSync(path, `${path}.away`);
  symlinkSync(victim, path);
  log.add("host.test", 443, "no");
  expect(statSync(victim).size).toBe(1_500_000);
  expect(readFileSync(`${path}.away`, "utf8")).toContain("refused: no");
});
