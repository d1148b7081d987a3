/** The shares of one sandbox: from tables to specifications, and whether they can be mounted beside each other. */

import { posix, resolve } from "node:path";
import { lookUp } from "../host/look_up.ts";
import { unexpanded } from "../host/written.ts";
import type { Path, Reporter } from "../spec/forms.ts";
import type { ShareSpec } from "../spec/spec.ts";
import type { ShareTable } from "./schema.ts";

/** Where init mounts what the guest itself needs. */
const RESERVED = ["/proc", "/sys", "/dev", "/capsa"];

/** `tables` come with their index in the file. */
export function resolveShares(
  tables: readonly (readonly [number, ShareTable])[],
  path: Path,
  base: string,
  report: Reporter,
): ShareSpec[] {
  const shares = tables.map(([index, table]) => resolveShare(table, [...path, index], base, report));
  shares.forEach((share, index) => {
    const at = [...path, tables[index]![0], "guest"];
    const reserved = RESERVED.find((place) => within(share.guest, place));
    if (share.guest === "/") {
      report(
        at,
        "a share cannot replace the guest's /",
        `for the whole file system use rootfs = "${share.host}"`,
      );
    } else if (reserved) {
      report(
        at,
        `the guest needs ${reserved} for itself`,
        "choose a path outside /proc, /sys, /dev and /capsa",
      );
    }
    for (const other of shares.slice(0, index)) {
      if (other.guest === share.guest) {
        report(at, `two shares are mounted on ${share.guest}`, "give each its own path");
      } else if (within(share.guest, other.guest) || within(other.guest, share.guest)) {
        const [inner, outer] = within(share.guest, other.guest) ? [share, other] : [other, share];
        report(
          at,
          `${inner.guest} lies inside another share, ${outer.guest}`,
          "shares are mounted side by side: move one of them",
        );
      }
    }
  });
  return shares;
}

function resolveShare(table: ShareTable, path: Path, base: string, report: Reporter): ShareSpec {
  const host = resolve(base, table.host);
  const wrong = unexpanded(table.host);
  const stat = lookUp(host);
  if (wrong !== undefined) {
    report([...path, "host"], ...wrong);
  } else if ("why" in stat) {
    report([...path, "host"], stat.why, "relative paths start at the directory of this file");
  } else if (!stat.isDirectory() && !stat.isFile()) {
    report([...path, "host"], `${host} is neither a directory nor a file`, "share the directory it is in");
  } else if (stat.isFile() && table.mode === "transaction") {
    report(
      [...path, "mode"],
      "a transaction is of a directory, not of one file",
      "share the directory it is in",
    );
  }
  const ownership = table.ownership ?? "root";
  if (table.mode === "transaction" && ownership === "caller") {
    report(
      [...path, "ownership"],
      "in a transaction files have owners, and cannot be whoever looks's",
      'leave it out, or use "passthrough" or ranges of ids',
    );
  }
  if (table.mode === "transaction" && table.locks === "host") {
    report(
      [...path, "locks"],
      "in a transaction locks are the guest's, and cannot be the host's",
      "leave it out",
    );
  }
  return {
    host,
    guest: normalise(table.guest),
    mode: table.mode ?? "ro",
    ownership: typeof ownership === "string" ? { mode: ownership } : { mode: "map", ...ownership },
    cache: table.cache ?? "auto",
    ...(table.locks === undefined ? {} : { locks: table.locks }),
    ...(table.protect === undefined ? {} : { protect: table.protect }),
  };
}

/** Without `.`, `..`, doubled and trailing slashes. */
function normalise(path: string): string {
  return posix.normalize(path).replace(/(.)\/$/, "$1");
}

function within(path: string, outer: string): boolean {
  return path === outer || path.startsWith(`${outer}/`);
}
