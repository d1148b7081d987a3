/** Where the guests of specifications may write. */
import { statSync } from "node:fs";
import type { GuestDirectories } from "../host/guest_directories.ts";
import { lastingIdentity } from "../host/identity.ts";
import type { SandboxSpec } from "./spec.ts";

/** Directories that guests of these specifications may write, now or once somebody has said yes. */
export function writableIn(specs: readonly SandboxSpec[]): GuestDirectories {
  const found = specs.flatMap(({ name, shares }) =>
    shares.flatMap(({ host, mode }) => {
      const status = mode === "ro" ? undefined : statusAt(host);
      return status?.isDirectory() ? [[lastingIdentity(status), { path: host, sandbox: name }] as const] : [];
    }),
  );
  return new Map(found);
}

/** Undefined too for what a check refuses in words. */
function statusAt(path: string) {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}
