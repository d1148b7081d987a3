/** The documentation's code compiles, and every public call has an example. */
import { beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { blocksOf, pages, ROOT } from "../docs/blocks.ts";
import { directory, writeModules } from "../docs/modules.ts";

/** Every page of the reference, by path. */
function reference(): Record<string, string> {
  const top = join(ROOT, "docs/api");
  const files = [...new Bun.Glob("**/*.md").scanSync({ cwd: top })].sort();
  return Object.fromEntries(files.map((file) => [file, readFileSync(join(top, file), "utf8")]));
}

/** TypeDoc on the docstrings as they are: its complaints fail. */
beforeAll(async () => {
  const child = Bun.spawn([join(ROOT, "scripts/reference/make")], { stdout: "pipe", stderr: "pipe" });
  const said = (await child.stdout.text()) + (await child.stderr.text());
  if ((await child.exited) !== 0) throw new Error(said);
}, 300_000);

test("every public call has an @example", () => {
  const calls: string[] = [];
  const bare: string[] = [];
  for (const [file, text] of Object.entries(reference())) {
    const name = basename(file, ".md");
    // a function has a page, a method a section
    const sections = file.includes("functions/")
      ? [`${name}()\n${text}`]
      : text.split(/^##? /m).flatMap((part) => part.split(/^### /m).slice(1));
    for (const section of sections) {
      const call = /^(\w+)\(\)\n/.exec(section)?.[1];
      if (call === undefined) continue;
      calls.push(call);
      if (!/^#+ Examples?$/m.test(section)) bare.push(`${name}: ${call}`);
    }
  }
  expect(calls.length).toBeGreaterThan(100);
  expect(bare).toEqual([]);
});

test("every block of TypeScript compiles", async () => {
  const modules = writeModules("types");
  expect(modules.length).toBeGreaterThan(100);
  const config = {
    extends: join(ROOT, "tsconfig.json"),
    compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
    include: ["."],
    exclude: [],
  };
  writeFileSync(join(directory("types"), "tsconfig.json"), JSON.stringify(config));
  const tsc = Bun.spawn([join(ROOT, "node_modules/.bin/tsc"), "--pretty", "false", "-p", "."], {
    cwd: directory("types"),
    stdout: "pipe",
  });
  // at the place in the page, not in the module
  const errors = (await tsc.stdout.text()).replace(/^(\d+)\.ts\((\d+),/gm, (_all, index, line) => {
    const { block, offset } = modules[Number(index)]!;
    return `${block.file}(${Number(line) - offset + block.line - 1},`;
  });
  expect(errors).toBe("");
}, 120_000);

test("blocks are found with their lines and marks", () => {
  const text = 'a\n```ts\nlet x;\n```\n```sh\nls\n```\n\n```ts no_run\nimport { Capsa } from "capsa";\n```\n';
  expect(blocksOf("x.md", text)).toMatchObject([
    { line: 3, code: "let x;\n", program: false, run: true },
    { line: 10, program: true, run: false },
  ]);
  expect(pages()).toContain("docs/api/interfaces/Agent.md");
});
