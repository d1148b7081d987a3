/** The hostile guest on true hardware, against a VMM with ASan and UBSan: not one access outside of what it owns. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildGuest, runMachine, tool } from "./bare.ts";

const ROUNDS = 10_000;
const root = join(import.meta.dir, "../..");
const inLab = process.env.CAPSA_LAB !== undefined;
const top = mkdtempSync(join(tmpdir(), "capsa-hostile-"));
let kernel: string;

beforeAll(() => {
  if (!inLab) return;
  tool("make", "-s", "-C", join(root, "ffi"), "SANITIZE=1");
  kernel = buildGuest("hostile", top);
}, 600_000);

afterAll(() => rmSync(top, { recursive: true }));

for (const seed of [21, 22]) {
  test.skipIf(!inLab)(
    `seed ${seed}: ${ROUNDS} rounds under sanitizers`,
    async () => {
      const base = mkdtempSync(join(top, `${seed}-`));
      for (const name of ["share", "read-only"]) mkdirSync(join(base, name));
      const ran = await runMachine(
        join(root, "build/sanitize/capsa-vmm"),
        {
          engine: "kvm",
          kernel,
          cmdline: `seed=${seed} rounds=${ROUNDS}`,
          fs: [
            { tag: "one", roots: [{ name: "0", path: join(base, "share"), readOnly: false }] },
            { tag: "two", roots: [{ name: "0", path: join(base, "read-only"), readOnly: true }] },
          ],
          vsock: { cid: 3, ports: [52] },
          rng: true,
          console: true,
          eventsPort: 53,
          confine: "none", // a sanitizer reads /proc to tell what it found
        },
        280_000,
      );
      // a sanitizer ends the process, at the latest with an exit code of its own for what leaked
      expect(ran).toMatchObject({ reason: "shutdown", failure: undefined, exitCode: 0 });
      expect(ran.console).toEndWith(`\nhostile: survived rounds=${ROUNDS} rng=1 fs=1 kicked=1\n`);
    },
    300_000,
  );
}
