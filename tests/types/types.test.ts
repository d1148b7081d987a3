/** What must not compile does not: tsc's errors on the fixtures are those written behind their lines, no more, no fewer. */

import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const fixtures = join(import.meta.dir, "fixtures");
const root = join(import.meta.dir, "../..");

/** `line: code` of every error, by file. */
type Errors = Record<string, string[]>;

function expectedErrors(): Errors {
  const errors: Errors = {};
  for (const file of readdirSync(fixtures).filter((name) => name.endsWith(".ts"))) {
    errors[file] = readFileSync(join(fixtures, file), "utf8")
      .split("\n")
      .flatMap((line, index) => {
        const code = /\/\/ (TS\d+)$/.exec(line)?.[1];
        return code === undefined ? [] : [`${index + 1}: ${code}`];
      });
  }
  return errors;
}

async function compilerErrors(): Promise<Errors> {
  const tsc = Bun.spawn(
    [join(root, "node_modules/.bin/tsc"), "--noEmit", "--pretty", "false", "-p", fixtures],
    {
      cwd: fixtures,
      stdout: "pipe",
    },
  );
  const errors: Errors = Object.fromEntries(Object.keys(expectedErrors()).map((file) => [file, []]));
  for (const line of (await tsc.stdout.text()).split("\n")) {
    const found = /^([^(\s][^(]*)\((\d+),\d+\): error (TS\d+)/.exec(line);
    if (found === null) continue;
    const [, file, at, code] = found as unknown as [string, string, string, string];
    errors[file] = [...(errors[file] ?? []), `${at}: ${code}`];
  }
  return errors;
}

test("the fixtures have the errors they say they have", async () => {
  const expected = expectedErrors();
  expect(Object.values(expected).flat().length).toBeGreaterThan(20);
  expect(await compilerErrors()).toEqual(expected);
});
