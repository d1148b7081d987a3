/** Root file systems of sandboxes: a source makes one of what `rootfs` says. A source is a file here and a line in the table. */

import type { RootfsSpec } from "../spec/spec.ts";
import { base } from "./base.ts";
import { directory } from "./directory.ts";
import { host } from "./host.ts";

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

const SOURCES: { readonly [Kind in RootfsSpec["kind"]]: Source<Kind> } = { base, directory, host };

/** Make ready what `rootfs` needs. Rejects with `HostError`, whose code and hint are the source's. */
export function prepareRoot<Kind extends RootfsSpec["kind"]>(
  rootfs: Extract<RootfsSpec, { kind: Kind }>,
  kept: string,
): Promise<RootImage> {
  return SOURCES[rootfs.kind as Kind](rootfs, kept);
}
