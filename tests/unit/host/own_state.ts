/** A state directory of the tests' own: what capsa remembers is the user's affair. */
import { afterAll, beforeAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** To be called once at the top of a file of tests; gives the directory. */
export function ownState(): () => string {
  const before = process.env.XDG_STATE_HOME;
  let state = "";
  beforeAll(() => {
    state = mkdtempSync(join(tmpdir(), "capsa-state-"));
    process.env.XDG_STATE_HOME = state;
  });
  afterAll(() => {
    if (before === undefined) delete process.env.XDG_STATE_HOME;
    else process.env.XDG_STATE_HOME = before;
    rmSync(state, { recursive: true, force: true });
  });
  return () => state;
}
