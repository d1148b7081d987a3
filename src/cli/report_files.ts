/** Reports of steps into files, as `--report FORMAT=FILE` asks for them. */
import { accessSync, constants, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { suggest } from "../config/suggest.ts";
import { CapsaError } from "../errors.ts";
import { printableJson } from "../printable.ts";
import { jsonReport } from "../steps/report/json.ts";
import { junitReport } from "../steps/report/junit.ts";
import { tapReport } from "../steps/report/tap.ts";
import type { RunResult } from "../steps/result.ts";
import { UsageError } from "./failure.ts";

const FORMATS: Readonly<Record<string, (run: RunResult, file: string) => string>> = {
  junit: junitReport,
  tap: tapReport,
  json: (run) => `${printableJson(jsonReport(run), 2)}\n`,
};

export const FORMAT_NAMES = Object.keys(FORMATS);

/** One that is asked for. */
export interface ReportFile {
  readonly format: string;
  readonly path: string;
}

/** For commander: adds what `word` says to those before. Throws {@link UsageError} for what no report could come of. */
export function addReportFile(word: string, before: readonly ReportFile[] = []): ReportFile[] {
  const [, format = word, path = ""] = /^([^=]*)=(.*)$/s.exec(word) ?? [];
  if (!Object.hasOwn(FORMATS, format)) {
    const meant = suggest(format, FORMAT_NAMES);
    const hint = meant ? `did you mean "${meant}"?` : `there are: ${FORMAT_NAMES.join(", ")}`;
    throw new UsageError(`--report: there is no format ${JSON.stringify(format)}`, hint);
  }
  if (path === "") throw new UsageError(`--report ${word}: which file?`, `--report ${format}=FILE`);
  return [...before, { format, path }];
}

/** Before anything is booted: whether all could be written. Throws {@link UsageError}. */
export function checkReportFiles(files: readonly ReportFile[]): void {
  for (const { path } of files) {
    try {
      const there = statSync(path, { throwIfNoEntry: false });
      if (there?.isDirectory()) throw new Error("it is a directory");
      accessSync(there && !there.isFile() ? path : dirname(path), constants.W_OK);
    } catch (error) {
      throw new UsageError(`--report: ${path} cannot be written: ${(error as Error).message}`);
    }
  }
}

/**
 * `source`: the file with the steps. A report is there whole or not at all; into a device or a pipe it is just
 * written. Throws {@link CapsaError} `REPORT`.
 */
export function writeReportFiles(files: readonly ReportFile[], run: RunResult, source: string): void {
  for (const { format, path } of files) {
    try {
      writeReport(path, FORMATS[format]!(run, source));
    } catch (cause) {
      const message = `--report: ${path} cannot be written: ${(cause as Error).message}`;
      throw new CapsaError("REPORT", message, { hint: "the steps have run; their exit code is lost", cause });
    }
  }
}

function writeReport(path: string, report: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() === false) {
    writeFileSync(path, report);
    return;
  }
  const unfinished = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(unfinished, report);
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
}
