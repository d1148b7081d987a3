/** The compiled command line: it stands in for the sources while it is what they would be, and not a moment longer. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cp, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { PROXY } from "../../../src/secrets/proxy/talk.ts";
import { obeyed } from "./traps.ts";

const PACKAGE = resolve(import.meta.dirname, "../../..");
let root: string;
let program: string;

/** A copy of the package with a compiled command line in it. */
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "capsa-compiled-"));
  program = join(root, "build/capsa");
  for (const part of ["src", "templates", "package.json", "package-lock.json", "capsa.toml.example"]) {
    await cp(join(PACKAGE, part), join(root, part), { recursive: true });
  }
  await symlink(join(PACKAGE, "node_modules"), join(root, "node_modules"));
  await build();
});

afterAll(() => rm(root, { recursive: true, force: true }));

async function build(): Promise<void> {
  const { exitCode, stderr } = await run([process.execPath, "src/cli/compiled/build.ts"]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
}

async function run(argv: string[], options: { cwd?: string; env?: Record<string, string> } = {}) {
  const child = Bun.spawn(argv, { cwd: root, stdin: "ignore", stdout: "pipe", stderr: "pipe", ...options });
  const [exitCode, stdout, stderr] = await Promise.all([
    child.exited,
    child.stdout.text(),
    child.stderr.text(),
  ]);
  return { exitCode, stdout, stderr };
}

/** Run `action` where there is no Bun to be found. */
async function withoutBun<T>(action: () => Promise<T>): Promise<T> {
  await rename(join(root, "node_modules"), join(root, "elsewhere"));
  try {
    return await action();
  } finally {
    await rename(join(root, "elsewhere"), join(root, "node_modules"));
  }
}

test("it does what the sources do, without Bun or packages", async () => {
  await withoutBun(async () => {
    for (const args of [["--help"], ["exec", "--help"], ["check", "nothing.toml"], ["up", "--wrong"]]) {
      const sources = await run([process.execPath, join(PACKAGE, "src/cli/main.ts"), ...args]);
      expect(await run([program, ...args], { env: { HOME: root } })).toEqual(sources);
    }
  });
});

test("it is the proxy of secrets, too; and Bun to one that comes with another program", async () => {
  const task = `${JSON.stringify({ services: [], control: "/nonesuch" })}\n`;
  const asBun = [join(root, "src/host/bun.sh"), "--with", program, "src/secrets/proxy/main.ts"];
  const ways: [argv: string[], env: Record<string, string>][] = [
    [[program, PROXY], {}],
    [asBun, { BUN_BE_BUN: "1" }],
  ];
  for (const [argv, env] of ways) {
    const stdin = new Blob([task]);
    const child = Bun.spawn(argv, { cwd: "/", env, stdin, stdout: "pipe", stderr: "inherit" });
    expect(await child.stdout.text()).toStartWith('{"ready":{"authority":"-----BEGIN CERTIFICATE-----');
    expect(await child.exited).toBe(1); // whoever started it has gone, and it follows no VMM
  }
});

test("it finds the parts of its package, by a link too", async () => {
  const link = join(root, "link");
  await symlink(program, link);
  const { exitCode, stderr } = await run([link, "init", "hello", join(root, "first")]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: expect.stringContaining("capsa.toml") });
});

/** What of the directory that it is called in, and of the one above, it obeys. */
async function obeyedByProgram(): Promise<string[]> {
  const XDG_RUNTIME_DIR = await mkdtemp(join(root, "run-"));
  return obeyed(async (cwd, env) => {
    const ended = await run([program, "ps", "--json"], { cwd, env: { HOME: root, XDG_RUNTIME_DIR, ...env } });
    expect(ended.exitCode).toBe(0);
  });
}

test("what lies in the directory it is run in is not its own", async () => {
  expect(await obeyedByProgram()).toEqual([]);
}, 60_000);

test("after an edit the sources run, until it is compiled again", async () => {
  const main = join(root, "src/cli/main.ts");
  const text = await readFile(main, "utf8");
  await writeFile(main, text.replace("Throw-away Linux machines", "Machines of another kind"));
  expect((await run([program, "--help"])).stdout).toContain("Machines of another kind");
  const failed = await run([program, "check", "nothing.toml"]);
  expect(failed).toEqual(await run([process.execPath, main, "check", "nothing.toml"]));
  expect(failed.exitCode).toBe(2);
  const odd = await run(["sh", "-c", '"$0" ps "$(printf "\\377")"', program]);
  expect(odd).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("is not UTF-8") });
  expect(await obeyedByProgram()).toEqual([]);

  const lost = await withoutBun(() => run([program, "--help"], { env: { PATH: "/nowhere" } }));
  expect(lost).toMatchObject({ exitCode: 125, stderr: expect.stringContaining("make setup") });

  await build();
  const again = await withoutBun(() => run([program, "--help"], { env: { PATH: "/nowhere" } }));
  expect(again).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("Machines of another kind") });
}, 60_000);

test("a file less makes the sources run as well", async () => {
  await rm(join(root, "src/config/capsa.schema.json"));
  const { exitCode } = await withoutBun(() => run([program, "--help"], { env: { PATH: "/nowhere" } }));
  expect(exitCode).toBe(125);
});

test("the launcher takes the compiled one where there is one", async () => {
  const launcher = join(root, "src/cli/capsa");
  await rm(program);
  expect((await run([launcher, "--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  await writeFile(program, '#!/bin/sh\necho "compiled: $1"\n', { mode: 0o755 });
  // which does not start where the working directory is gone
  const gone = await run([
    "sh",
    "-c",
    'mkdir gone && cd gone && rmdir ../gone && exec "$0" --version',
    launcher,
  ]);
  expect(gone.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  const link = join(root, "capsa");
  await symlink(launcher, link);
  expect((await run([link, "ps"])).stdout).toBe("compiled: ps\n");
});
