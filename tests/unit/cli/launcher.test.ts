/** The launcher, without a compiled command line: it has Bun run the sources, and obey nothing of where it is called. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { obeyed, obeyedAtOnce, setPaths } from "./traps.ts";

const PACKAGE = resolve(import.meta.dirname, "../../..");
let root: string;

/** As npm has it, with the launcher in .bin and what it depends on beside it; and a clone that has not been compiled. */
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "capsa-launcher-"));
  const modules = join(root, "npm/node_modules");
  for (const place of [join(modules, "capsa"), join(root, "clone")]) {
    for (const part of ["src", "kernel", "package.json"])
      await cp(join(PACKAGE, part), join(place, part), { recursive: true });
  }
  for (const name of await readdir(join(PACKAGE, "node_modules")))
    if (name !== ".bin") await symlink(join(PACKAGE, "node_modules", name), join(modules, name));
  await mkdir(join(modules, ".bin"));
  await symlink("../bun/bin/bun.exe", join(modules, ".bin/bun"));
  await symlink("../capsa/src/cli/capsa", join(modules, ".bin/capsa"));
  await symlink(join(PACKAGE, "node_modules"), join(root, "clone/node_modules"));
});

afterAll(() => rm(root, { recursive: true, force: true }));

async function run(argv: string[], cwd: string, env: Readonly<Record<string, string>> = {}) {
  const child = Bun.spawn(argv, {
    cwd,
    env: { PATH: process.env.PATH, HOME: root, XDG_RUNTIME_DIR: root, ...env },
    stdin: "ignore",
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

describe.each([
  ["npm", "npm/node_modules/.bin/capsa"],
  ["a clone", "clone/src/cli/capsa"],
])("from %s", (_, path) => {
  const capsa = () => join(root, path);

  test("it obeys nothing of the working directory, nor of one above", async () => {
    const ends = new Set<string>();
    const found = await obeyed(async (cwd, env) => {
      ends.add(JSON.stringify(await run([capsa(), "ps", "--json"], cwd, env)));
    });
    expect(found).toEqual([]);
    expect([...ends].map((end) => JSON.parse(end))).toEqual([{ exitCode: 0, stdout: "[]\n", stderr: "" }]);
  }, 60_000);

  test.each([["--help"], ["up --help"], ["check"], ["doctor"], ["kernel path"], ["mcp"]])(
    "nor does capsa %s",
    async (words) => {
      expect(await obeyedAtOnce((cwd, env) => run([capsa(), ...words.split(" ")], cwd, env))).toEqual([]);
    },
    60_000,
  );

  test("it starts from anywhere: by a link, by a relative path, from a directory that is gone", async () => {
    const version = { exitCode: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), stderr: "" };
    await symlink(capsa(), join(root, "link"));
    expect(await run([join(root, "link"), "--version"], "/")).toEqual(version);
    await unlink(join(root, "link"));
    expect(await run(["/bin/sh", path, "--version"], root, { CDPATH: "/usr:/" })).toEqual(version);
    expect(await run(["/bin/sh", "capsa", "--version"], resolve(capsa(), ".."))).toEqual(version);
    const gone = await mkdtemp(join(root, "gone-"));
    const script = 'rmdir "$PWD"; exec "$0" --version';
    const { exitCode, stdout } = await run(["/bin/sh", "-c", script, capsa()], gone);
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: version.stdout });
  });
});

describe("what lies above the package is not obeyed either", () => {
  const project = () => join(root, "npm");
  beforeAll(() => setPaths(project(), join(project(), "mark")));

  test("by the command", async () => {
    await run([join(project(), "node_modules/.bin/capsa"), "ps"], "/");
    expect(await readdir(project())).not.toContain("mark");
  });

  test("by the proxy of secrets that another program starts", async () => {
    const installed = join(project(), "node_modules/capsa/src");
    const script = `
      const { SecretProxy } = await import("${installed}/secrets/proxy.ts");
      await SecretProxy.start({ secrets: {}, placeholders: {}, runtimeDir: "${project()}" });
      process.exit();`;
    const paths = "--tsconfig-override=/dev/null"; // that program is another's to start with care
    const { stderr } = await run([process.execPath, paths, "-e", script], "/");
    expect({ stderr, left: await readdir(project()) }).toEqual({
      stderr: "",
      left: expect.not.arrayContaining(["mark"]),
    });
  });
});

test("without Bun it says what to do, and takes none of PATH", async () => {
  const alone = join(root, "alone");
  for (const file of ["src/cli/capsa", "src/host/bun.sh"])
    await cp(join(PACKAGE, file), join(alone, file), { recursive: true });
  const { exitCode, stderr } = await run([join(alone, "src/cli/capsa"), "ps"], alone);
  expect({ exitCode, stderr }).toEqual({ exitCode: 125, stderr: expect.stringContaining("make setup") });
});

test("Bun is started in one place, and programs of this machine in few", async () => {
  const starting =
    /Bun\.(spawn|which)|child_process|\bbecome\(|new Worker|process\.execPath|env bun|\.bin\/bun/;
  const files: string[] = [];
  for (const pattern of ["src/**/*", ".ci/*", "scripts/*", "scripts/reference/*"])
    for await (const file of new Bun.Glob(pattern).scan({ cwd: PACKAGE, dot: true }))
      if (starting.test(await readFile(join(PACKAGE, file), "utf8"))) files.push(file);
  expect(files.sort()).toEqual([
    "src/cli/compiled/main.ts", // bun.sh
    "src/cli/diagnosis.ts", // what environment.ts has found
    "src/cli/verbs/kernel.ts", // kernel/build.sh
    "src/host/bun.sh",
    "src/host/environment.ts",
    "src/host/installation.ts", // kernel/build.sh
    "src/host/libc.ts",
    "src/host/own_files.ts", // asks where Bun lies
    "src/secrets/proxy.ts", // bun.sh, or itself
  ]);
});

test("in a directory that is not there any more a verb that needs it says so, as JSON where that is wanted", async () => {
  const launcher = join(root, "clone/src/cli/capsa");
  const call = (line: string) => {
    const script = `mkdir "$0/gone" && cd "$0/gone" && rmdir "$0/gone" && exec ${launcher} ${line}`;
    return run(["sh", "-c", script, root], "/");
  };
  const plain = await call("up");
  expect(plain).toMatchObject({ exitCode: 125, stdout: "" });
  expect(plain.stderr).toContain(
    "capsa: the working directory no longer exists\n  change to a directory that exists\n",
  );
  const json = await call("up --json");
  expect(json.exitCode).toBe(125);
  expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: "ENOENT" } });
  expect(await call("ps --json")).toMatchObject({ exitCode: 0, stdout: "[]\n" });
});
