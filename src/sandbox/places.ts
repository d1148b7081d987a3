/**
 * Places of shares in read-only shares, which the shared directory may lack: nobody makes them there. Whoever looks sees them
 * in a layer above it (ffi/virtio/fs/union.c), in which there is nothing else.
 */

import { chmodSync, closeSync, lstatSync, mkdirSync, openSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";
import { outerOf, placeIn } from "../spec/shares.ts";
import type { ShareSpec } from "../spec/spec.ts";
import type { Protection } from "./protect.ts";

/** By the shares' order: where the layer is, if one is needed. What a link leads to is the guest's to find. */
export function makePlaces(
  shares: readonly ShareSpec[],
  protections: readonly Protection[],
  runtimeDir: string,
): (string | undefined)[] {
  return shares.map((outer, index) => {
    if (outer.mode !== "ro" && !protections[index]?.whole) return undefined;
    const missing = shares
      .filter((inner) => outerOf(inner, shares) === outer)
      .map((inner) => ({ names: placeIn(inner, outer), isFile: statSync(inner.host).isFile() }))
      .filter(({ names }) => names.every((_, at) => !isLink(join(outer.host, ...names.slice(0, at + 1)))))
      .filter(({ names }) => statusOf(join(outer.host, ...names)) === undefined);
    if (missing.length === 0) return undefined;
    const layer = join(runtimeDir, "places", String(index));
    mkdirSync(join(layer, "work", "index"), { recursive: true, mode: 0o700 });
    for (const { names, isFile } of missing) {
      const ways = isFile ? names.slice(0, -1) : names;
      ["", ...ways].forEach((_, length) => {
        const way = ways.slice(0, length);
        makeLike(join(layer, "upper", ...way), statusOf(join(outer.host, ...way)));
      });
      if (isFile) closeSync(openSync(join(layer, "upper", ...names), "a", 0o644));
    }
    return layer;
  });
}

/** A directory that stands above another one is seen in its place. */
function makeLike(path: string, below: Stats | undefined): void {
  mkdirSync(path, { recursive: true });
  chmodSync(path, (below?.mode ?? 0o755) & 0o7777);
}

function isLink(path: string): boolean {
  return statusOf(path)?.isSymbolicLink() ?? false;
}

function statusOf(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}
