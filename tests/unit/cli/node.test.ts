/** Node.js, which cannot run capsa, is told so in one sentence. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import * as api from "../../../src/index.ts";

const SENTENCE =
  "capsa needs Bun, which comes with it: `npx bun main.ts` runs a program, `npx capsa` the command";
const node = Bun.which("node");
let project: string;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "capsa-node-"));
  await mkdir(join(project, "node_modules/.bin"), { recursive: true });
  await symlink(resolve(import.meta.dirname, "../../.."), join(project, "node_modules/capsa"));
  await symlink("../capsa/src/cli/capsa", join(project, "node_modules/.bin/capsa"));
});
afterAll(() => rm(project, { recursive: true }));

async function run(...argv: string[]) {
  const child = Bun.spawn(argv, { cwd: project, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

test.skipIf(node === null)(
  "by the command, a program of any kind, and each name that it imports",
  async () => {
    const command = await run(node!, "node_modules/.bin/capsa", "ps");
    expect(command).toEqual({ exitCode: 125, stdout: "", stderr: `${SENTENCE}\n` });
    const names = Object.keys(api).join(", ");
    for (const program of ['import("capsa").catch', 'new Promise(() => require("capsa")).catch']) {
      const { stdout } = await run(node!, "-e", `${program}(({ stack }) => console.log(stack))`);
      expect(stdout).toBe(`${SENTENCE}\n`);
    }
    const { stderr } = await run(node!, "--input-type=module", "-e", `import { ${names} } from "capsa"`);
    expect(stderr).toContain(SENTENCE);
    expect(stderr).not.toContain("SyntaxError");
  },
);

test("Bun is given capsa", async () => {
  const { stdout } = await run(
    process.execPath,
    "-e",
    'import("capsa").then((api) => console.log(typeof api.Capsa.sandbox))',
  );
  expect(stdout).toBe("function\n");
});
