/** Runs the `capsa` command as a user does, in a directory of its own. */
import { afterAll, expect } from "bun:test";
import { mkdtempSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../../..");
export const MAIN = join(ROOT, "src/cli/main.ts");
/** The compiled command line: of these sources once they are compiled. */
export const PROGRAM = join(ROOT, "build/capsa");

export async function compile(): Promise<void> {
  const child = Bun.spawn([process.execPath, "src/cli/compiled/build.ts"], { cwd: ROOT });
  expect(await child.exited).toBe(0);
}

export interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Run to the end. `env` is added to a small environment without a terminal. */
export async function capsa(
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string | undefined>; stdin?: string } = {},
): Promise<Ended> {
  const child = Bun.spawn([process.execPath, MAIN, ...args], {
    cwd: options.cwd ?? process.cwd(),
    env: { ...process.env, NO_COLOR: undefined, ...options.env },
    stdin: options.stdin === undefined ? "ignore" : new Blob([options.stdin]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [exitCode, stdout, stderr] = await Promise.all([
    child.exited,
    child.stdout.text(),
    child.stderr.text(),
  ]);
  return { exitCode, stdout, stderr };
}

/**
 * Run `command` with its streams somewhere else, as bash has it: descriptor 3 is a pipe that nobody reads any more. Gives
 * what could still be told.
 */
export async function redirected(
  redirection: string,
  command: readonly string[],
  options: { cwd?: string; env?: Record<string, string | undefined> } = {},
): Promise<Ended> {
  const script = `exec 3> >(:); wait $!; "$@" ${redirection} 3>&-`;
  const child = Bun.spawn(["bash", "-c", script, "bash", ...command], {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...options.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

/**
 * Gives this file's tests a runtime directory of their own (the user's sandboxes are none of their business), in which
 * they must leave nothing.
 */
export function ownRuntimeDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), "capsa-run-"));
  process.env.CAPSA_RUNTIME_DIR = path;
  afterAll(async () => {
    const left = await sandboxesIn(path);
    await rm(path, { recursive: true });
    expect(left).toEqual([]);
  });
  return path;
}

/** Names in a runtime directory: there is one directory a sandbox. */
export async function sandboxesIn(path: string): Promise<string[]> {
  return (await readdir(path)).filter((name) => !name.startsWith("."));
}

/** A `capsa` that goes on: the caller waits for its end. */
export function start(cwd: string, args: readonly string[]) {
  const stdio = { stdin: "ignore", stdout: "pipe", stderr: "pipe" } as const;
  return Bun.spawn([process.execPath, MAIN, ...args], { cwd, env: process.env, ...stdio });
}

/** A directory that goes when the test's scope does. */
export async function scratch(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "capsa-cli-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
