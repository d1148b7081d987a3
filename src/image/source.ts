/** Root file systems of sandboxes: a source makes one of what `rootfs` says. A source is a file here and a line in the table. */

import type { RootfsSpec } from "../spec/spec.ts";
import { base } from "./base.ts";
import { directory } from "./directory.ts";
import { host } from "./host.ts";
import type { RootImage, Source } from "./root.ts";

const SOURCES: { readonly [Kind in RootfsSpec["kind"]]: Source<Kind> } = { base, directory, host };

/** Make ready what `rootfs` needs. Rejects with `HostError`, whose code and hint are the source's. */
export function prepareRoot<Kind extends RootfsSpec["kind"]>(
  rootfs: Extract<RootfsSpec, { kind: Kind }>,
  kept: string,
): Promise<RootImage> {
  return SOURCES[rootfs.kind as Kind](rootfs, kept);
}
