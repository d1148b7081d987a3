/** Removing what a guest has made, while somebody changes it. */
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeTree } from "../../../src/host/place.ts";

test("no permissions change but of what is removed, whatever takes its name meanwhile", () => {
  const top = mkdtempSync(join(tmpdir(), "capsa-remove-"));
  const [outside, one, other] = ["outside", "one", "other"].map((name) => join(top, name)) as [
    string,
    string,
    string,
  ];
  mkdirSync(outside, { mode: 0o755 });
  const SWAP = JSON.stringify([one, other, 1_000_000]);
  const swapping = Bun.spawn([process.execPath, join(import.meta.dirname, "swap.ts")], {
    env: { ...process.env, SWAP },
  });
  try {
    let mode = 0;
    for (let times = 0; times < 2000 && mode !== 0o700; times++) {
      try {
        for (const path of [one, other]) removeTree(path);
        mkdirSync(one, { mode: 0 });
        symlinkSync(outside, other);
        removeTree(one);
      } catch {
        // it has become something else on the way
      }
      mode = statSync(outside).mode & 0o777;
    }
    expect(mode).toBe(0o755);
  } finally {
    swapping.kill();
    rmSync(top, { recursive: true });
  }
});
