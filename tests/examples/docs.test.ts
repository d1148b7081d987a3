/** The examples of docstrings, README.md and docs run as they are written, but those marked `no_run`. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import { blocksOf, pages, ROOT } from "../docs/blocks.ts";
import { furnishHost, RAW_PAGES } from "../docs/context.ts";
import { writeModules } from "../docs/modules.ts";
import { ownState } from "../unit/changes/staged.ts";
import { ownRuntimeDirectory } from "../unit/cli/capsa.ts";

ownRuntimeDirectory();
ownState(); // some examples take over all changes that are pending
/** The working directory of the examples: what they name is in it. */
const place = mkdtempSync(join(tmpdir(), "capsa-docs-"));
afterAll(() => rmSync(place, { recursive: true }));
let failures: string[];

beforeAll(async () => {
  furnishHost(place);
  const modules = writeModules("examples").filter(({ block }) => block.run && !RAW_PAGES.has(block.file));
  // inherited calls are on several pages
  const once = [...new Map(modules.map((module) => [module.block.code, module])).values()];
  const [list, outcome] = [join(place, "modules.json"), join(place, "failures.json")];
  writeFileSync(list, JSON.stringify(once));
  const child = Bun.spawn([process.execPath, join(ROOT, "tests/docs/run.ts"), list, outcome], {
    cwd: place,
    env: process.env,
    stdout: "ignore",
    stderr: "pipe",
  });
  const said = await child.stderr.text();
  if ((await child.exited) !== 0) throw new Error(said);
  failures = JSON.parse(readFileSync(outcome, "utf8"));
}, 600_000);

const examples = pages().filter((page) => !RAW_PAGES.has(page) && blocksOf(page).some(({ run }) => run));

test.each(examples)("%s", (page) => {
  expect(failures.filter((failure) => failure.startsWith(`${page}:`))).toEqual([]);
});

test("every capsa.toml of the guides is right", () => {
  const files = pages().flatMap((page) => {
    const text = page.startsWith("docs/guide-") ? readFileSync(join(ROOT, page), "utf8") : "";
    return [...text.matchAll(/^```toml\n(.*?)^```$/gms)].map(([, toml]) => toml!);
  });
  expect(files.length).toBeGreaterThan(1);
  for (const toml of files) {
    writeFileSync(join(place, "capsa.toml"), toml);
    expect(loadConfig(join(place, "capsa.toml")).steps.length).toBeGreaterThan(0);
  }
});
