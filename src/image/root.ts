/** A root file system, as whoever starts a sandbox is given it, and what gives it. */

import type { RootfsSpec } from "../spec/spec.ts";

/** What a guest makes its root of. */
export interface RootImage {
  /** Host directories, the uppermost first, which the guest stacks below a tmpfs. None: the base (busybox) of the initramfs. */
  readonly lowers: readonly string[];
  /** Host directories mounted over it, each below a tmpfs of its own. */
  readonly overlays: readonly { readonly host: string; readonly target: string }[];
  /** What it says about its main process; the specification overrules each part. */
  readonly main?: {
    readonly argv?: readonly [string, ...string[]];
    readonly env?: Readonly<Record<string, string>>;
    readonly cwd?: string;
  };
}

/** `kept`: a directory of this user alone, for what later starts use again. Rejects with `HostError`. */
export type Source<Kind extends RootfsSpec["kind"]> = (
  rootfs: Extract<RootfsSpec, { kind: Kind }>,
  kept: string,
) => Promise<RootImage>;
