/** What the environment says of places: nothing that is relative to the working directory. */
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram, searchPath } from "../../../src/host/environment.ts";
import { isGuests } from "../../../src/host/hold.ts";
import { cacheHome, stateHome } from "../../../src/host/homes.ts";
import {
  buildEnvironment,
  cachedKernel,
  initramfsPath,
  kernelPath,
  libraryDirectory,
  qemuPath,
} from "../../../src/host/installation.ts";

const before = { ...process.env };
const cwd = process.cwd();
afterEach(() => {
  process.chdir(cwd);
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
});

test.each<[string, () => unknown]>([
  ["CAPSA_LIB_DIR", libraryDirectory],
  ["CAPSA_INITRAMFS", initramfsPath],
  ["CAPSA_KERNEL", kernelPath],
  ["CAPSA_QEMU", qemuPath],
  ["CAPSA_CACHE", cachedKernel],
  ["CAPSA_CACHE", buildEnvironment],
  ["XDG_CACHE_HOME", cacheHome],
  ["XDG_STATE_HOME", stateHome],
  ["XDG_STATE_HOME", () => isGuests("/")],
])("a relative %s is refused", async (name, use) => {
  for (const path of ["lib", "./lib", "../lib", "~/lib"]) {
    process.env[name] = path;
    await expect((async () => use())()).rejects.toThrow(`${name} is "${path}"; it must be an absolute path`);
  }
  process.env[name] = "";
  await (async () => use())(); // as if it were not set
});

test("programs are looked for in directories that PATH names from the root", () => {
  const directory = mkdtempSync(join(tmpdir(), "capsa-path-"));
  try {
    writeFileSync(join(directory, "capsa-nonesuch"), "#!/bin/sh\n", { mode: 0o755 });
    process.chdir(directory);
    for (const path of ["", ".", ":", "::/usr/bin", `.:../${directory.split("/").at(-1)}`]) {
      process.env.PATH = path;
      expect(findProgram("capsa-nonesuch")).toBeUndefined();
      expect(findProgram("sh")).toMatch(/^\/(usr\/)?bin\/sh$/);
      expect(buildEnvironment().PATH).toBe(searchPath());
    }
    process.env.PATH = `.:${directory}:bin:/usr/bin:`;
    expect(findProgram("capsa-nonesuch")).toBe(join(directory, "capsa-nonesuch"));
    expect(searchPath()).toBe(`${directory}:/usr/bin`);
  } finally {
    process.chdir(cwd);
    rmSync(directory, { recursive: true });
  }
});
