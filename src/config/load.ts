/** `capsa.toml` from disk to sandboxes and steps, or to the list of everything that is wrong with it. */
import { readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { CapsaError } from "../errors/errors.ts";
import { hold, isGuests } from "../host/hold.ts";
import { readSecret } from "../secrets/value.ts";
import { check, isTable, unfitTexts } from "../spec/check.ts";
import type { Context } from "../spec/key.ts";
import { checkLimits, type McpLimits, resolveLimits } from "../spec/mcp.ts";
import { type Path, type Report, reporter, reporting } from "../spec/problem.ts";
import { checkSandbox, checkSecrets, resolveSandbox } from "../spec/sandbox.ts";
import type { SandboxSpec } from "../spec/spec.ts";
import { resolveSteps, type Step } from "../steps/index.ts";
import type { StepSandbox } from "../steps/kind.ts";
import { checkNetworks } from "./networks.ts";
import { scanPositions } from "./positions.ts";
import { ConfigError, formatProblems, type PlacedProblem, placed, sortProblems } from "./problem.ts";
import { type ConfigFile, FileSchema } from "./schema.ts";
import { parseToml } from "./toml.ts";

export interface Config {
  /** Absolute path of the file. */
  readonly file: string;
  readonly sandboxes: readonly SandboxSpec[];
  readonly steps: readonly Step[];
  /** With its defaults. */
  readonly mcp: McpLimits;
}

/** More than anybody writes. */
const MOST_BYTES = 16 << 20;

interface LoadOptions {
  /** `unread`: for those who start nothing, values of secrets need not be there. */
  readonly values?: "read" | "unread";
}

/**
 * Read and check a file.
 *
 * @throws ConfigError
 */
export function loadConfig(file: string, options: LoadOptions = {}): Config {
  const path = resolve(file);
  return parseConfig(readText(path), path, options);
}

/**
 * Check the text of a file; `path` is where relative paths in it start from, and what errors call it.
 *
 * @throws ConfigError `CONFIG_INVALID`
 */
export function parseConfig(text: string, path: string, { values = "read" }: LoadOptions = {}): Config {
  const fail = (problems: readonly PlacedProblem[]) => {
    const sorted = sortProblems(problems);
    return new ConfigError("CONFIG_INVALID", path, formatProblems(shown(path), text, sorted), {
      problems: sorted,
    });
  };
  const parsed = parseToml(text);
  if (parsed.problem) throw fail([parsed.problem]);
  const positions = scanPositions(text);
  const problems = [...check(FileSchema, parsed.value)];
  const report = reporter(problems);
  const base = dirname(path);
  // checked as far as it has the right shape, so that one run shows everything
  const { sandbox, steps, mcp } = parsed.value as Partial<ConfigFile>;
  const tables = isTable(sandbox) ? sandbox : {};
  const within = (...outer: Path): Context => ({
    side: "toml",
    report: (at, ...what) => report([...outer, ...at], ...what),
    base,
  });
  const sandboxes = Object.entries(tables).flatMap(([name, table]) => {
    if (!isTable(table)) return [];
    const context = within("sandbox", name);
    for (const { path: at, message } of unfitTexts(table)) context.report(at, message);
    return resolveSandbox(table, { ...context, file: path, name });
  });
  const limits = resolveLimits(isTable(mcp) ? mcp : {}, within("mcp"));
  const config = {
    file: path,
    sandboxes,
    steps: resolveSteps(Array.isArray(steps) ? steps : [], {
      sandboxes: Object.entries(tables).map(([name, table]) => forSteps(name, table)),
      base,
      lineOf: (at) => positions.nearest(at).line,
      report,
    }),
    mcp: limits,
  };
  checkNetworks(sandboxes, report);
  const isWhole = problems.length === 0;
  for (const spec of sandboxes) {
    const context = within("sandbox", spec.name);
    checkSandbox(spec, context, sandboxes);
    if (isWhole) checkSecrets(spec, context.report);
  }
  checkLimits(limits, within("mcp"));
  if (problems.length === 0 && values === "read")
    for (const spec of sandboxes) readSecrets(spec, within("sandbox", spec.name).report);
  if (problems.length > 0) throw fail(problems.map((problem) => placed(problem, positions)));
  return config;
}

/** Of a table that may be wrong, which is no reason to complain of its steps. */
function forSteps(name: string, table: unknown): StepSandbox {
  const { cwd, run, shares }: Record<string, unknown> = isTable(table) ? table : {};
  return {
    name,
    cwd: typeof cwd === "string" ? cwd : undefined,
    hasMain: run !== undefined,
    keepsChanges:
      shares !== undefined &&
      (!Array.isArray(shares) || shares.some((share) => isTable(share) && share.mode === "transaction")),
  };
}

/** All values that cannot be had. */
function readSecrets({ secrets = {} }: SandboxSpec, report: Report): void {
  for (const [name, { from }] of Object.entries(secrets))
    reporting(report, [], () => readSecret(["secrets", name, "from"], from));
}

function readText(path: string): string {
  const unreadable = (message: string, hint?: string) =>
    new ConfigError("CONFIG_UNREADABLE", path, message, hint ? { hint } : {});
  try {
    const bytes = readWhole(path);
    if (typeof bytes === "string") throw unreadable(`${shown(path)} ${bytes}`);
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const hint = error instanceof CapsaError ? error.hint : undefined;
    if (code === "GUEST_LINK") throw new ConfigError(code, path, message, { hint });
    if (code === "ENOENT")
      throw unreadable(`there is no ${shown(path)}`, "`capsa init` writes one; --file names another");
    if (code === "EISDIR")
      throw unreadable(
        `${shown(path)} is a directory`,
        `did you mean ${shown(resolve(path, "capsa.toml"))}?`,
      );
    if (code === "EACCES") throw unreadable(`${shown(path)} may not be read by this user`);
    if (error instanceof TypeError) throw unreadable(`${shown(path)} is not UTF-8 text`);
    throw unreadable(`${shown(path)} cannot be read: ${message}`, hint);
  }
}

/**
 * Or why not. It is opened once, for a pipe's writer goes on when that is done. A pipe is waited for where it is the user's,
 * as `-f /dev/stdin`; a guest's would be waited for without end.
 */
function readWhole(path: string): Uint8Array | string {
  using held = hold(path);
  const { status } = held;
  if (status.size > MOST_BYTES) return `is larger than ${MOST_BYTES >> 20} MiB`;
  if (!status.isFile() && !status.isDirectory() && isGuests(path))
    return "is not a regular file, and a guest may write its directory";
  return readFileSync(held.path);
}

/** The path as the user would write it: relative where that does not lead out of here. */
function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short === "" || short.startsWith("..") ? path : short;
}
