/** docs/features.md names tests that are there, and every call of the API. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../../..");
const page = readFileSync(join(ROOT, "docs/features.md"), "utf8");

interface Row {
  readonly calls: string;
  readonly file: string;
  readonly name: string;
}
const rows: Row[] = [...page.matchAll(/^\| [^|]+ \| ([^|]+) \| (tests\/\S+) \| (.+) \|$/gm)].map(
  ([, calls, file, name]) => ({ calls: calls!, file: file!, name: name! }),
);

/** Every call in docs/api, which set-up makes of the docstrings. */
function calls(): string[] {
  const names = [...new Bun.Glob("docs/api/**/*.md").scanSync({ cwd: ROOT })].flatMap((file) => {
    if (file.includes("/functions/")) return [basename(file, ".md")];
    return [...readFileSync(join(ROOT, file), "utf8").matchAll(/^### (\w+)\(\)$/gm)].map(([, name]) => name!);
  });
  return [...new Set(names)].sort();
}

test("every row names a test that is in that file", () => {
  expect(rows.length).toBeGreaterThan(50);
  const gone = rows.filter(({ file, name }) => {
    const path = join(ROOT, file);
    return !existsSync(path) || !readFileSync(path, "utf8").includes(`test("${name}"`);
  });
  expect(gone).toEqual([]);
});

test("no row is left out for being malformed", () => {
  const lines = page.split("\n").filter((line) => line.startsWith("| ") && line.includes("tests/"));
  expect(lines).toHaveLength(rows.length);
});

test("every promise of docs/security.md is held by a test that is there", () => {
  const security = readFileSync(join(ROOT, "docs/security.md"), "utf8");
  const promises = [...security.matchAll(/^\| [^|]+ \| (tests\/\S+) \| (.+) \|$/gm)];
  expect(promises.length).toBeGreaterThan(15);
  const lines = security.split("\n").filter((line) => line.startsWith("|") && line.includes("tests/"));
  expect(promises.map(([row]) => row)).toEqual(lines);
  const gone = promises.filter(([, file, name]) => {
    const path = join(ROOT, file!);
    return (
      !existsSync(path) ||
      !new RegExp(`test\\(['"]${RegExp.escape(name!)}['"]`).test(readFileSync(path, "utf8"))
    );
  });
  expect(gone.map(([row]) => row)).toEqual([]);
});

test("every call of the API is proved by one", () => {
  const told = new Set(
    rows.flatMap((row) => [...row.calls.matchAll(/`(?:\w+\.)*(\w+)`/g)].map(([, name]) => name!)),
  );
  expect(calls().length).toBeGreaterThan(70);
  expect(calls().filter((call) => !told.has(call))).toEqual([]);
});
