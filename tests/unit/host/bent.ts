/** A directory that a guest may write, with links of it that lead beside it, and a place beside it that is to stay as it is. */
import { afterEach, beforeEach, expect } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rememberGuestDirectory } from "../../../src/host/guest_directories.ts";
import { ownState } from "./own_state.ts";

export interface Bent {
  /** Has `way`, a link to `outside`, and `file`, one to the secret in it. */
  readonly shared: string;
  readonly outside: string;
}

/** What an error of such a link says. */
export const REFUSED = {
  code: "GUEST_LINK",
  message: expect.stringContaining("where sandbox box may write: its guest may have made it"),
};

/** To be called once at the top of a file of tests. Each has it anew, and nothing outside may have changed behind it. */
export function ownBent(): Bent {
  ownState();
  const bent = { shared: "", outside: "" };
  let top: string;
  beforeEach(() => {
    top = realpathSync(mkdtempSync(join(tmpdir(), "capsa-bent-")));
    bent.shared = join(top, "shared");
    bent.outside = join(top, "outside");
    mkdirSync(bent.shared);
    mkdirSync(bent.outside);
    writeFileSync(join(bent.outside, "secret"), "secret of the host's");
    symlinkSync(bent.outside, join(bent.shared, "way"));
    symlinkSync(join(bent.outside, "secret"), join(bent.shared, "file"));
    const status = statSync(bent.shared, { bigint: true });
    rememberGuestDirectory(status, { path: bent.shared, sandbox: "box" });
  });
  afterEach(() => {
    const left = readdirSync(bent.outside);
    const kept = readFileSync(join(bent.outside, "secret"), "utf8");
    rmSync(top, { recursive: true });
    expect([left, kept]).toEqual([["secret"], "secret of the host's"]);
  });
  return bent;
}
