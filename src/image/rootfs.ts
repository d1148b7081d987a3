/** The root file system of a sandbox: what the host has to share for it, and what the guest has to make of that. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { RootfsSpec } from "../spec/spec.ts";
import { makeHostSkeleton } from "./host.ts";

/** Host directories to share read-only, and their part in the guest's root. */
export interface RootfsParts {
  /** The root itself, below a tmpfs overlay; absent: the base (busybox) of the initramfs. */
  readonly lower?: string;
  /** Directories mounted over it, each below a tmpfs overlay of its own. */
  readonly overlays: readonly { readonly host: string; readonly target: string }[];
}

/**
 * Make ready what `rootfs` needs; `runtimeDir` takes what has to be made. Throws `HostError` `ROOTFS_UNSUPPORTED` where
 * this host's /usr cannot be lent.
 */
export function prepareRootfs(rootfs: RootfsSpec, runtimeDir: string): RootfsParts {
  switch (rootfs.kind) {
    case "base":
      return { overlays: [] };
    case "directory":
      return { lower: rootfs.path, overlays: [] };
    case "host": {
      const lower = join(runtimeDir, "rootfs");
      mkdirSync(lower, { mode: 0o755 });
      makeHostSkeleton(lower);
      return { lower, overlays: [{ host: "/usr", target: "/usr" }] };
    }
  }
}
