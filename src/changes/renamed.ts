/**
 * Directories that a guest has renamed: what it has not changed in one of them is still where it was in the shared directory. A
 * mark on the one in the layer says where (ffi/virtio/fs/redirect.c); it may say anything, so names are entered one at a time.
 */

import { fstatSync } from "node:fs";
import { lastingIdentity } from "../host/identity.ts";
import { attribute, removeAttribute } from "../host/libc.ts";
import type { Place } from "../host/place.ts";
import { enterAbove, openLower, openUpper } from "./layers.ts";
import type { StagedShare } from "./staging.ts";

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

/** A directory that shows under another name than it has in the shared one. */
export interface Renamed {
  readonly share: StagedShare;
  /** Its place for the guest. */
  readonly path: readonly Buffer[];
  /** And in the shared directory. */
  readonly from: readonly Buffer[];
  readonly mark: string;
}

/**
 * What shows through `inner`, a directory of the layer, for it was renamed; undefined where nothing does, any more. It is noted
 * in `shown`.
 */
export function throughOf(
  share: StagedShare,
  inner: Place,
  shown: Set<string>,
): (Through & Pick<Renamed, "mark">) | undefined {
  const mark = markOf(inner) ?? "";
  const [who, ...names] = mark.split("/");
  if (names.length === 0 || !names.every(isName)) return undefined;
  const path = names.map((name) => Buffer.from(name, "latin1"));
  try {
    using lower = openLower(share);
    const { place } = enterAbove(lower.place, [...path, HERE]);
    const found = lastingIdentity(fstatSync(place.fd, { bigint: true }));
    if (found === who && !shown.has(found)) {
      shown.add(found);
      return { place, path, mark };
    }
    place.close();
  } catch {
    // it is somewhere else by now, or gone
  }
  return undefined;
}

/**
 * From now on what the shared directory has at its new place shows through it; false where it is not there any more as it was
 * seen. Throws `HostFileError`.
 */
export function unmark(directory: string, { share, path, mark }: Renamed): boolean {
  using upper = openUpper(directory, share);
  using above = enterAbove(upper.place, [...path, HERE]);
  return markOf(above.place) === mark && removeAttribute(`/proc/self/fd/${above.place.fd}`, MARK);
}

function markOf(inner: Place): string | undefined {
  return attribute(`/proc/self/fd/${inner.fd}`, MARK, LONGEST);
}

function isName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !name.includes("\0");
}
