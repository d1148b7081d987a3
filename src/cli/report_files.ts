/** Reports of steps into files, as `--report FORMAT=FILE` asks for them. */
import { accessSync, constants, lstatSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { CapsaError, HostFileError } from "../errors/errors.ts";
import { printableJson } from "../errors/printable.ts";
import { suggest } from "../errors/suggest.ts";
import { errorCode } from "../host/file_errors.ts";
import { type Held, hold, isGuests } from "../host/hold.ts";
import { Place } from "../host/place.ts";
import type { ProjectReport } from "../steps/api.ts";
import { jsonReport } from "../steps/report/json.ts";
import { junitReport } from "../steps/report/junit.ts";
import { tapReport } from "../steps/report/tap.ts";
import { UsageError } from "./failure.ts";

const FORMATS: Readonly<Record<string, (run: ProjectReport, file: string) => string>> = {
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
  const taken = new Set<string>();
  for (const { path } of files) {
    const target = whither(path);
    if (taken.has(target))
      throw new UsageError(`--report: two reports cannot go to ${path}`, "name another file");
    taken.add(target);
    try {
      using there = written(path);
      if (there?.status.isDirectory()) throw new Error("it is a directory");
      if (there !== undefined) {
        accessSync(there.path, constants.W_OK);
        continue;
      }
      using above = hold(dirname(resolve(path)));
      accessSync(above.path, constants.W_OK);
    } catch (error) {
      throw new UsageError(`--report: ${path} cannot be written: ${reason(error)}`);
    }
  }
}

/** Where `path` leads, as far as that is there. */
function whither(path: string): string {
  const whole = resolve(path);
  for (const real of [() => realpathSync(whole), () => join(realpathSync(dirname(whole)), basename(whole))]) {
    try {
      return real();
    } catch {}
  }
  return whole;
}

/**
 * `source`: the file with the steps. A report is there whole or not at all; into a device or a pipe it is just
 * written. Throws {@link CapsaError} `REPORT`.
 */
export function writeReportFiles(files: readonly ReportFile[], run: ProjectReport, source: string): void {
  for (const { format, path } of files) {
    try {
      writeReport(path, FORMATS[format]!(run, source));
    } catch (cause) {
      const message = `--report: ${path} cannot be written: ${reason(cause)}`;
      throw new CapsaError("REPORT", message, { hint: "the steps have run; their exit code is lost", cause });
    }
  }
}

function writeReport(path: string, report: string): void {
  using there = written(path);
  if (there !== undefined) {
    writeFileSync(there.path, report);
    return;
  }
  const { place, name } = Place.above(path);
  const unfinished = place.name(Buffer.from(`.capsa-${crypto.randomUUID()}`));
  try {
    writeFileSync(unfinished, report, { flag: "wx" });
    place.try(name, (target) => renameSync(unfinished, target));
  } finally {
    rmSync(unfinished, { force: true });
    place.close();
  }
}

/** What there is to write into, as into a device or a pipe, or would be; undefined where a new file takes the name. */
function written(path: string): Held | undefined {
  const above = dirname(resolve(path));
  // A guest's fifo would never end, and its link is replaced as a file of its is
  if (isGuests(above) && !lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) return undefined;
  try {
    const held = hold(path);
    if (!held.status.isFile()) return held;
    held[Symbol.dispose]();
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
  return undefined;
}

function reason(error: unknown): string {
  const { code, message } = error as CapsaError;
  return error instanceof HostFileError ? `${code}: ${message}` : message;
}
