/** The package as npm has it: packed, installed into an empty project, and used there as its reader would. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ownRuntimeDirectory } from "../unit/cli/capsa.ts";
import { obeyed, obeyedAtOnce, setPaths } from "../unit/cli/traps.ts";

const ROOT = resolve(import.meta.dirname, "../..");
/** Packing looks whether all is built, and installing unpacks a Bun. */
setDefaultTimeout(300_000);
ownRuntimeDirectory();

const project = mkdtempSync(join(tmpdir(), "capsa-npm-"));
const installed = join(project, "node_modules/capsa");
const bin = (name: string) => join(project, "node_modules/.bin", name);

/** Run to the end; in the project without anything of this clone: not its programs, nor what the environment says of it. */
async function end(command: readonly string[], cwd: string, more: Record<string, string | undefined> = {}) {
  const foreign = (name: string) => cwd !== ROOT && /^(npm_|CAPSA_(LIB|INIT|KERNEL|CACHE))/.test(name);
  const env = { ...process.env, ...more };
  const path = env.PATH!.split(":").filter((part) => !part.includes("node_modules"));
  const child = Bun.spawn([...command], {
    cwd,
    env: {
      ...Object.fromEntries(Object.entries(env).filter(([name]) => !foreign(name))),
      PATH: path.join(":"),
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

/** As {@link end}, which is to be a good one. */
async function run(command: readonly string[], cwd = project): Promise<string> {
  const { exitCode, stdout, stderr } = await end(command, cwd);
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}\n${stdout}${stderr}`);
  return stdout;
}

beforeAll(async () => {
  await Bun.write(join(project, "package.json"), '{ "private": true, "type": "module" }\n');
  await run(["npm", "pack", "--silent", "--pack-destination", project], ROOT);
  const [packed] = new Bun.Glob("capsa-*.tgz").scanSync(project);
  await run(["npm", "install", "--prefer-offline", "--no-audit", "--no-fund", "--silent", `./${packed}`]);
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

test("it has what there is to build from, and nothing that only this project needs", async () => {
  const sources = [
    "src",
    "ffi",
    "guest",
    "kernel",
    "templates",
    "examples",
    "docs/*.md",
    "capsa.toml.example",
  ];
  const tracked = (await run(["git", "ls-files", ...sources], ROOT)).trimEnd().split("\n");
  expect(tracked.length).toBeGreaterThan(300);
  // npm gives ignore files another name
  const missing = tracked.filter(
    (file) => !existsSync(join(installed, file.replace(/\.gitignore$/, ".npmignore"))),
  );
  expect(missing).toEqual([]);
  for (const other of ["tests", ".ci", "build/capsa", "node_modules"])
    expect(existsSync(join(installed, other))).toBe(false);
});

test("its own parts are found: library, monitors, guest and kernel", async () => {
  const report = JSON.parse(await run([bin("capsa"), "doctor", "--json"])) as {
    findings: { name: string; found: string }[];
  };
  for (const part of ["kernel", "guest", "monitor"])
    expect(report.findings.find(({ name }) => name === part)?.found).toStartWith(join(installed, "build"));
  expect((await run([bin("capsa"), "kernel", "path"])).trim()).toStartWith(join(installed, "build/kernel/"));
});

test("a program of the project: its types compile, strictly and with any module system, and it runs", async () => {
  await Bun.write(
    join(project, "main.ts"),
    `import { type Agent, Capsa, CapsaError, MountMode, sandbox } from "capsa";

await using vm = await Capsa.sandbox()
  .share(import.meta.dirname, "/project", MountMode.ReadOnly)
  .run("/bin/sleep", ["infinity"])
  .build();
await using agent: Agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
const { stdout, exitCode } = await agent.exec("uname -sr; ls /project/main.ts");
console.log(exitCode, stdout);
const failure: unknown = await agent.readFile("/nonesuch").catch((error) => error);
console.log(failure instanceof CapsaError && failure.code);
`,
  );
  const tsc = join(ROOT, "node_modules/.bin/tsc");
  for (const module of ["nodenext", "preserve"]) {
    const flags = ["--strict", "--exactOptionalPropertyTypes", "--noEmit", "--target", "esnext"];
    await run([tsc, ...flags, "--module", module, "main.ts"]);
  }
  const stdout = await run([bin("bun"), "main.ts"]);
  expect(stdout).toMatch(/^0 Linux \S+-capsa\n\/project\/main\.ts\n/);
  expect(stdout).toEndWith("ENOENT\n");
});

const SECRETIVE = `
[sandbox.box]
run = "true"

[sandbox.box.network]
allow = ["example.org:443"]

[sandbox.box.secrets.TOKEN]
from = "env:TOKEN_OF_TEST"
hosts = ["example.org:443"]
`;

test("its command obeys no file of the directory it is called in, nor of one above", async () => {
  const base = mkdtempSync(join(tmpdir(), "capsa-base-"));
  // none of the test's own, which no .env would change
  const own = {
    CAPSA_RUNTIME_DIR: undefined,
    NODE_ENV: undefined,
    XDG_RUNTIME_DIR: base,
    TOKEN_OF_TEST: "long enough",
  };
  const capsa = (words: string, cwd: string, env: { PATH: string }) =>
    end([bin("capsa"), ...words.split(" ")], cwd, { ...own, ...env });
  try {
    expect(await obeyed((cwd, env) => capsa("ps", cwd, env))).toEqual([]);
    expect(await obeyedAtOnce((cwd, env) => capsa("--help", cwd, env))).toEqual([]);

    await setPaths(project, join(project, "mark")); // of the project, above the package
    const ends: unknown[] = [];
    const found = await obeyedAtOnce(async (cwd, env) => {
      await Bun.write(join(cwd, "capsa.toml"), SECRETIVE);
      for (const verb of ["check", "up"]) ends.push((await capsa(verb, cwd, env)).exitCode);
    });
    expect(found).toEqual([]);
    expect(existsSync(join(project, "mark"))).toBe(false);
    expect(ends).toEqual([0, 0, 0, 0]);
  } finally {
    for (const file of ["tsconfig.json", "tsconfig.json.ts"]) rmSync(join(project, file), { force: true });
    rmSync(base, { recursive: true, force: true });
  }
});

test("a guest with the project that it is installed in cannot change it, nor what it needs", async () => {
  const places = [
    "node_modules/capsa/src/index.ts",
    "node_modules/capsa/build/capsa-vmm",
    "node_modules/capsa/build/capsa",
    "node_modules/capsa/package.json",
    "node_modules/capsa/node_modules/commander",
    "node_modules/.bin/capsa",
    "node_modules/.bin/bun",
    "node_modules/bun/bin/bun.exe",
    "node_modules/commander/package.json",
    "node_modules/commander/node_modules",
    "node_modules/@modelcontextprotocol/node_modules/zod",
    "node_modules/node_modules/.bin/bun",
    "capsa.toml",
  ];
  const script = [
    "cd /project",
    ...places.map((path) => `mkdir -p $(dirname ${path}); rm -rf ${path} 2>/dev/null; echo x >${path}`),
    "mv node_modules other; mv node_modules/capsa node_modules/other",
    "mkdir node_modules/mine && echo x >node_modules/mine/index.js",
  ].join("\n");
  const sum = async () => {
    const list = await run(["find", "node_modules", "capsa.toml", "-type", "f", "-not", "-path", "*/mine/*"]);
    const files = list.trim().split("\n").sort();
    return run(["sha256sum", ...files]);
  };
  const toml =
    `[sandbox.box]\nrun = ["/bin/sh", "-c", ${JSON.stringify(script)}]\n` +
    '[[sandbox.box.shares]]\nhost = "."\nguest = "/project"\nmode = "rw"\n';
  await Bun.write(join(project, "capsa.toml"), toml);
  const before = await sum();
  expect(await end([bin("capsa"), "up"], project)).toMatchObject({ exitCode: 0 });
  expect(await sum()).toBe(before);
  expect(existsSync(join(project, "node_modules/mine/index.js"))).toBe(true);
  for (const path of ["capsa.toml", "node_modules/mine"]) rmSync(join(project, path), { recursive: true });
});

test("its example and a template run", async () => {
  const stdout = await run([bin("bun"), join(installed, "examples/ai-agent/agent.ts")]);
  expect(stdout).toContain("113 palindromic primes");
  await run(["npx", "--no", "capsa", "init", "python", "demo"]);
  expect(await run(["npx", "--no", "capsa", "up"], join(project, "demo"))).toMatch(/^\d passed in /m);
  expect(existsSync(join(project, "demo/output/.gitignore"))).toBe(true);
});
