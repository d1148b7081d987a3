/** docs/troubleshooting.md has a section for every code that the sources can raise, and none for others. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../../..");
const page = readFileSync(join(ROOT, "docs/troubleshooting.md"), "utf8");

function sources(pattern: string): string[] {
  return [...new Bun.Glob(pattern).scanSync({ cwd: ROOT })].map((file) =>
    readFileSync(join(ROOT, file), "utf8"),
  );
}

/** What the first group of each of `patterns` is in `texts`, each once, in order. */
function found(texts: readonly string[], ...patterns: RegExp[]): string[] {
  const all = texts.flatMap((text) => patterns.flatMap((pattern) => [...text.matchAll(pattern)]));
  return [...new Set(all.map(([, code]) => code!))].sort();
}

const typescript = sources("src/**/!(error_codes).ts");
const headings = [...page.matchAll(/^### (.*)$/gm)].map(([, heading]) => heading!);

test("every code of capsa's own has its section, and each section is of one", () => {
  const raised = [
    // no other literal of the sources is of this form; a code of one word is known by what it is given to
    ...found(typescript, /"([A-Z]+(?:_[A-Z]+)+)"/g),
    ...found(
      typescript,
      /\b(?:\w*Error|super|failureOf|fail)\(\s*"([A-Z]+)"/g,
      /\bcode: .*"([A-Z]+)"/g,
    ).filter((code) => !isErrno(code)),
    ...found(
      sources("ffi/**/*.c"),
      /failure__set\([^"]*"([A-Z]+(?:_[A-Z]+)+)"/g,
      /\btell\(\w+, "([A-Z]+(?:_[A-Z]+)+)"/g,
    ),
  ];
  expect(raised).toContain("BOOT_FAILED");
  expect(raised).toContain("ENGINE_FAILED");
  expect(raised).toContain("USAGE");
  const told = found(headings, /`([A-Z_]+)`/g);
  expect(told).toEqual([...new Set(raised)].sort());
});

test("the type of codes has each of an error, and a notice's is none", () => {
  const [errors, notices] = page.split("\n## Notices\n");
  const told = (part: string) =>
    found(
      [...part.matchAll(/^### (.*)$/gm)].map(([, heading]) => heading!),
      /`([A-Z_]+)`/g,
    );
  const type = readFileSync(join(ROOT, "src/errors/error_codes.ts"), "utf8");
  expect(found([type], /\| "([A-Z_]+)"/g)).toEqual(told(errors!));
  expect(told(notices!)).toContain("ENGINE_QEMU");
});

test("every errno that the sources name is in the table", () => {
  const named = found(typescript, /["`](E[A-Z0-9]{3,})["`]/g).filter(isErrno);
  const table = found([page], /`(E[A-Z0-9]{3,})`(?=[^\n]*\|)/g);
  // those that a socket of this machine gives are tried again, and never told
  const retried = ["ECONNREFUSED", "ECONNRESET", "EPIPE"];
  expect(named.filter((code) => !table.includes(code) && !retried.includes(code))).toEqual([]);
});

function isErrno(code: string): boolean {
  return Object.hasOwn(constants.errno, code);
}
