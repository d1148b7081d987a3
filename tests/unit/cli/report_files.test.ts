/** Reports that cannot be written; those that can are in the tests of `up`. */
import { expect, test } from "bun:test";
import { lstatSync, readdirSync, readFileSync, readlinkSync, symlinkSync, unlinkSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { checkReportFiles, writeReportFiles } from "../../../src/cli/report_files.ts";
import { mkfifo } from "../changes/staged.ts";
import { ownBent } from "../host/bent.ts";
import { scratch } from "./capsa.ts";

const bent = ownBent();

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

const tap = (path: string) => [{ format: "tap", path }];

test("where a guest may write, its links and fifos are replaced, and none is followed on the way", () => {
  mkfifo(join(bent.shared, "fifo"));
  symlinkSync("/dev/full", join(bent.shared, "device"));
  for (const name of ["file", "fifo", "device", "new"]) {
    const path = join(bent.shared, name);
    checkReportFiles(tap(path));
    writeReportFiles(tap(path), run, "capsa.toml");
    expect(lstatSync(path).isFile()).toBe(true);
    expect(readFileSync(path, "utf8")).toStartWith("TAP version");
  }
  expect(readdirSync(bent.shared).sort()).toEqual(["device", "fifo", "file", "new", "way"]);
  const through = join(bent.shared, "way/new");
  const why = `--report: ${through} cannot be written: GUEST_LINK: `;
  expect(() => checkReportFiles(tap(through))).toThrow(why);
  expect(() => writeReportFiles(tap(through), run, "capsa.toml")).toThrow(why);
});

test("elsewhere a link to a device leads there, one to a file is replaced, and what the shell has opened is written to", () => {
  const top = join(bent.outside, "..");
  symlinkSync("/dev/null", join(top, "null"));
  symlinkSync(join(bent.outside, "secret"), join(top, "link"));
  for (const name of ["null", "link"]) {
    checkReportFiles(tap(join(top, name)));
    writeReportFiles(tap(join(top, name)), run, "capsa.toml");
  }
  expect(readlinkSync(join(top, "null"))).toBe("/dev/null");
  expect(lstatSync(join(top, "link")).isFile()).toBe(true);
  unlinkSync(join(top, "link"));
  const script = `import { writeReportFiles } from ${JSON.stringify(join(import.meta.dirname, "../../../src/cli/report_files.ts"))};
    writeReportFiles([{ format: "tap", path: "/dev/stdout" }], ${JSON.stringify(run)}, "capsa.toml");`;
  const { stdout } = Bun.spawnSync(["sh", "-c", '"$0" -e "$1" | cat', process.execPath, script]);
  expect(stdout.toString()).toStartWith("TAP version");
});
