/** The two directories of a share, opened: the shared one, and the layer with what a guest has changed. */

import { fstatSync } from "node:fs";
import { join } from "node:path";
import { HostFileError } from "../errors/errors.ts";
import { errorCode } from "../host/file_errors.ts";
import { lastingIdentity } from "../host/identity.ts";
import { Place } from "../host/place.ts";
import type { StagedShare } from "./staging.ts";

/** The layer that has what the guest wrote; a VMM that it has taken over may have put something else there. */
export function openUpper(directory: string, share: StagedShare): Opened {
  return opened(join(directory, String(share.index), "upper"));
}

/** The shared directory that the sandbox was started with, and no other. */
export function openLower({ host, identity }: StagedShare): Opened {
  const place = Place.at(host);
  if (identity === undefined || lastingIdentity(fstatSync(place.fd, { bigint: true })) === identity)
    return { place, [Symbol.dispose]: () => place.close() };
  place.close();
  throw new HostFileError(
    "SHARE_REPLACED",
    host,
    "another directory has taken the place of the one that the sandbox shares",
    {
      hint: "put the first one back, or drop the changes with `capsa discard` after the sandbox has ended",
    },
  );
}

/** A directory that is closed with the scope that uses it. */
export interface Opened extends Disposable {
  readonly place: Place;
}

function opened(path: string): Opened {
  const { place: above, name } = Place.above(path);
  try {
    const place = above.enter(name);
    return { place, [Symbol.dispose]: () => place.close() };
  } finally {
    above.close();
  }
}

/** The directory that holds the entry, entered name by name. Throws `HostFileError`. */
export function enterAbove(top: Place, path: readonly Buffer[]): Opened {
  let place = top;
  try {
    for (const name of path.slice(0, -1)) {
      const inner = place.enter(name);
      if (place !== top) place.close();
      place = inner;
    }
  } catch (error) {
    if (place !== top) place.close();
    throw error;
  }
  return { place, [Symbol.dispose]: () => place !== top && place.close() };
}

/** The directory of that path in another one; undefined where it has gone, or is none any more. Throws `HostFileError`. */
export function enterIfThere(top: Place, ...path: readonly Buffer[]): Place | undefined {
  try {
    using above = enterAbove(top, path);
    return above.place.enter(path.at(-1)!);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** A directory on the way has gone, or is none any more. */
export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP";
}
