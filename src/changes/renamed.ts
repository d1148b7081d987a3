/**
 * Directories that a guest has renamed: what it has not changed in one of them is still where it was in the shared directory. A
 * mark on the one in the layer says where (ffi/virtio/fs/redirect.c); it may say anything, so names are entered one at a time.
 */

import { fstatSync } from "node:fs";
import type { Place } from "../agent/tree/place.ts";
import { lastingIdentity } from "../host/identity.ts";
import { enterAbove, openLower } from "./layers.ts";
import type { StagedShare } from "./staging.ts";
import { attribute } from "./system.ts";

const MARK = "user.overlay.redirect";
const HERE = Buffer.from(".");
/** Bytes, as long as marks are. */
const LONGEST = 4096;

/** A directory of the shared one that shows through another of the layer. */
export interface Through {
  readonly place: Place;
  /** Where it is. */
  readonly path: readonly Buffer[];
}

/**
 * What shows through `inner`, a directory of the layer, for it was renamed; undefined where nothing does, any more. It is noted
 * in `shown`.
 */
export function throughOf(share: StagedShare, inner: Place, shown: Set<string>): Through | undefined {
  const mark = attribute(`/proc/self/fd/${inner.fd}`, MARK, LONGEST);
  const [who, ...names] = mark?.split("/") ?? [];
  if (names.length === 0 || !names.every(isName)) return undefined;
  const path = names.map((name) => Buffer.from(name, "latin1"));
  try {
    using lower = openLower(share);
    const { place } = enterAbove(lower.place, [...path, HERE]);
    const found = lastingIdentity(fstatSync(place.fd, { bigint: true }));
    if (found === who && !shown.has(found)) {
      shown.add(found);
      return { place, path };
    }
    place.close();
  } catch {
    // it is somewhere else by now, or gone
  }
  return undefined;
}

function isName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !name.includes("\0");
}
