/** Reports that cannot be written; those that can are in the tests of `up`. */
import { expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { writeReportFiles } from "../../../src/cli/report_files.ts";
import { scratch } from "./capsa.ts";

const run = { passed: 0, failed: 0, skipped: 0, durationMs: 0, steps: [] };

test("a report that cannot be written is told with its name, and nothing of it stays", async () => {
  await using directory = await scratch();
  const gone = join(directory.path, "gone/steps.xml");
  for (const [path, why] of [
    ["/dev/full", "ENOSPC"],
    [gone, "ENOENT"],
  ] as const) {
    expect(() => writeReportFiles([{ format: "junit", path }], run, "capsa.toml")).toThrow(
      expect.objectContaining({
        code: "REPORT",
        message: expect.stringContaining(`--report: ${path} cannot be written: ${why}`),
      }),
    );
  }
  expect(await readdir(directory.path)).toEqual([]);
});
