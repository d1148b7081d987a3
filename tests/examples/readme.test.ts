/** The commands of README.md, run in their order, and its other claims that can be checked. */
import { expect, test } from "bun:test";
import { chmod, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import { capsa, MAIN, ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";

const ROOT = resolve(import.meta.dirname, "../..");
ownRuntimeDirectory();
const readme = await readFile(join(ROOT, "README.md"), "utf8");

function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map(
    ([, text]) => text!,
  );
}

const commands = blocks("sh").flatMap((block) => block.trimEnd().split("\n"));

test("every make target that it names is there", async () => {
  const targets = commands.filter((line) => line.startsWith("make ")).map((line) => line.slice(5));
  expect(targets).toContain("up");
  const makefile = await readFile(join(ROOT, "Makefile"), "utf8");
  for (const target of targets) expect(makefile).toMatch(new RegExp(`^${target}:.*## `, "m"));
});

test("every other command works, in the order of the page", async () => {
  await using dir = await scratch();
  await mkdir(join(dir.path, "bin"));
  await writeFile(join(dir.path, "bin/capsa"), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
  await chmod(join(dir.path, "bin/capsa"), 0o755);
  for (const name of ["examples", "package.json", "node_modules", "src"])
    await symlink(join(ROOT, name), join(dir.path, name));
  const lines = commands.filter((line) => !line.startsWith("make "));
  expect(lines.length).toBeGreaterThan(10);
  // `cd demo` is for the reader; its end is where the examples begin
  const script = lines.map((line) => (line.includes("examples/") ? `(cd '${dir.path}' && ${line})` : line));
  const child = Bun.spawn(["bash", "-ex", "-c", script.join("\n")], {
    cwd: dir.path,
    env: { ...process.env, PATH: `${dir.path}/bin:${ROOT}/node_modules/.bin:${process.env.PATH}` },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect({ exitCode: await child.exited, stderr: child.exitCode === 0 ? "" : stderr }).toEqual({
    exitCode: 0,
    stderr: "",
  });
  expect(stdout).toContain("Linux hello");
  expect(stdout).toMatch(/^\s*3$/m);
}, 300_000);

test("its capsa.toml is right, given the directory it shares", async () => {
  await using dir = await scratch();
  await mkdir(join(dir.path, "project"));
  const [toml] = blocks("toml");
  await writeFile(join(dir.path, "capsa.toml"), toml!);
  expect(loadConfig(join(dir.path, "capsa.toml")).steps).toHaveLength(1);
});

test("its error message is the one that is printed", async () => {
  await using dir = await scratch();
  await writeFile(join(dir.path, "capsa.toml"), '[sandbox.box]\n\nmemroy = "1G"\n');
  const { stderr } = await capsa(["check"], { cwd: dir.path });
  expect(readme).toContain(`\`\`\`\n${stderr}\`\`\``);
});

test("its table of the command line has every verb", async () => {
  const { stdout } = await capsa(["--help"]);
  const verbs = [...stdout.matchAll(/^ {2}([a-z]+) /gm)]
    .map(([, verb]) => verb!)
    .filter((verb) => verb !== "help");
  expect(verbs.length).toBeGreaterThan(8);
  for (const verb of verbs) expect(readme).toMatch(new RegExp(`^\\| \`capsa ${verb}\\b`, "m"));
});

test("every file it links to is there", async () => {
  const links = [...readme.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path]) => path!);
  expect(links.length).toBeGreaterThan(3);
  for (const link of links) expect(await Bun.file(join(ROOT, link)).exists()).toBe(true);
});
