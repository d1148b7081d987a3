/** Shares by which a guest could change capsa itself: what it writes there runs on this machine, at the next start. */

import { realpathSync } from "node:fs";
import { libraryDirectory, packagePath } from "../engine/installation.ts";
import type { Notice } from "./api.ts";
import type { ShareSpec } from "./spec.ts";

/** A notice for each read-write share that holds something of capsa's, or lies in it. `used`: what of it has other places. */
export function noticesOfOwnFiles(
  shares: readonly ShareSpec[],
  used: readonly (string | undefined)[],
): Notice[] {
  const writable = shares.filter(({ mode }) => mode === "rw");
  if (writable.length === 0) return [];
  const parts = ["src", "build", "node_modules", "package.json"].map((part) => packagePath(part));
  const own = [...parts, process.execPath, libraryDirectory(), ...used].flatMap(real);
  return writable.flatMap(({ host }) => {
    const [path] = real(host);
    const held = path && own.find((file) => isWithin(file, path) || isWithin(path, file));
    if (!held) return [];
    const message =
      `by the share ${host} the guest may change ${held}, which capsa runs on this machine: ` +
      "install capsa outside of what you share, or share it read-only";
    return [{ code: "SHARE_HOLDS_CAPSA", message }];
  });
}

/** Behind all links; none where nothing is there. */
function real(path: string | undefined): string[] {
  if (path === undefined) return [];
  try {
    return [realpathSync(path)];
  } catch {
    return [];
  }
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}
