/** A specification that can be, for tests to change one thing of. */

import type { SandboxSpec, ShareSpec } from "../../../src/spec/spec.ts";

export const SPEC: SandboxSpec = {
  name: "box",
  cpus: 2,
  memoryMb: 256,
  engine: "qemu",
  confine: "auto",
  rootfs: { kind: "base" },
  shares: [],
  network: "none",
  env: { LANG: "C" },
  run: { argv: ["/bin/sh", "-c", "true"], env: {} },
  bootTimeoutMs: 30_000,
};

export function share(guest: string, change: Partial<ShareSpec> = {}): ShareSpec {
  return { host: "/usr", guest, mode: "ro", ownership: { mode: "root" }, cache: "auto", ...change };
}
