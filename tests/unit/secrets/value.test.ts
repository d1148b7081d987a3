/** Secrets from files: those that a guest may have bent, and those that are none. */
import { expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readSecret } from "../../../src/secrets/value.ts";
import { mkfifo } from "../changes/staged.ts";
import { ownBent, REFUSED } from "../host/bent.ts";

const bent = ownBent();
const read = (path: string) => readSecret("secrets.KEY.from", `file:${path}`);

test("a link of the user's leads to the file, a link of a guest's nowhere", () => {
  writeFileSync(join(bent.shared, "own"), "made by the guest\n");
  const link = join(bent.shared, "..", "link");
  symlinkSync(join(bent.shared, "own"), link);
  expect(read(link)).toBe("made by the guest");
  for (const path of ["file", "way/secret"])
    expect(() => read(join(bent.shared, path))).toThrow(
      expect.objectContaining({ name: "SpecError", field: "secrets.KEY.from", ...REFUSED }),
    );
});

test("what is no file is not opened, nor waited for", () => {
  mkdirSync(join(bent.shared, "dir"));
  mkfifo(join(bent.shared, "fifo"));
  for (const name of ["dir", "fifo"])
    expect(() => read(join(bent.shared, name))).toThrow(`${join(bent.shared, name)} is not a regular file`);
  expect(() => read(join(bent.shared, "none"))).toThrow("is not there");
});
