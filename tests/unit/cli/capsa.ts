/** Runs the `capsa` command as a user does, in a directory of its own. */
import { afterAll, expect } from "bun:test";
import { mkdtempSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const MAIN = resolve(import.meta.dirname, "../../../src/cli/main.ts");

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
  return (await readdir(path)).filter((name) => name !== ".lock");
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
