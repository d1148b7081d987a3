/** Keys of a share, a directory of this machine or one file that the guest sees, and whether shares go together. */
import { lstatSync, realpathSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { type TProperties, Type } from "@sinclair/typebox";
import { closed, guestPath, hostPath, optional, words } from "./forms.ts";
import { type Context, type Key, quantity, resolveList, type Side, tableSchema } from "./key.ts";
import {
  type Checker,
  checkReadable,
  isWithin,
  parseGuestPath,
  parseHostPath,
  parsePathBelow,
} from "./paths.ts";
import type { Path, Report } from "./problem.ts";
import type { IdRange, Ownership, ShareSpec } from "./spec.ts";
import { BYTES } from "./units.ts";

const MAX_SHARES = 512;
const MAX_PROTECTED = 1024; // of one share
const MAX_ID = 0xffff_fffe;
const MAX_ID_RANGES = 340; // as in the kernel's own id maps

/** Where a share must not go: what the guest's kernel and init have there is not to be covered. */
const RESERVED = ["/proc", "/sys", "/dev", "/capsa"];

const id = (description: string, minimum: number) =>
  Type.Integer({ description, minimum, maximum: MAX_ID, expected: `a whole number, ${minimum} or more` });

const idRanges = (description: string) =>
  Type.Array(
    Type.Object(
      {
        guest: id("First id in the guest.", 0),
        host: id("First id on the host.", 0),
        count: id("How many ids.", 1),
      },
      { ...closed, expected: "a range such as { guest = 0, host = 1000, count = 1 }" },
    ),
    {
      description,
      minItems: 1,
      expected: "a list of ranges such as [{ guest = 0, host = 1000, count = 1 }]",
    },
  );

const owners = words(["root", "caller", "passthrough"], "");
const maps = { uids: idRanges("User ids."), gids: idRanges("Group ids.") };
const kinds = words(["root", "caller", "passthrough", "map"], "");
const mapped = <T extends TProperties>(keys: T) =>
  Type.Object(keys, { ...closed, expected: "a table of uids and gids" });
const owned = {
  description:
    "Who owns the files in the guest. root (the default): root; caller: whichever user looks; passthrough: the " +
    "host's ids; or ranges of ids that are mapped.",
  expected: '"root", "caller", "passthrough" or { uids = […], gids = […] }',
};

const KEYS: readonly Key[] = [
  {
    name: "host",
    required: true,
    schema: hostPath("A directory or one file. A relative path starts at the directory of this file."),
    parse: parseHostPath,
  },
  {
    name: "guest",
    required: true,
    schema: guestPath("Where it appears in the guest."),
    parse: parseGuestPath,
  },
  {
    name: "mode",
    default: "ro",
    schema: words(
      ["ro", "rw", "transaction"],
      "ro (the default): the guest cannot change it; rw: the guest can change it; transaction: capsa keeps the " +
        "guest's changes beside the directory, for `capsa diff`, `capsa apply` and `capsa discard`.",
    ),
  },
  {
    name: "ownership",
    default: { mode: "root" } satisfies Ownership,
    schema: Type.Union([owners, mapped(maps)], owned),
    plain: Type.Union(
      [owners, mapped({ mode: optional(kinds), ...maps }), Type.Object({ mode: owners }, closed)],
      owned,
    ),
    parse: parseOwnership,
  },
  {
    name: "cache",
    default: "auto",
    schema: words(
      ["auto", "always", "never"],
      "How long the guest may use its cache: auto (the default): one second; always: forever, if nothing else " +
        "changes the files; never: it sees changes of the host at once.",
    ),
  },
  {
    name: "locks",
    schema: words(
      ["host", "guest"],
      "Where file locks of the guest (flock, fcntl) count. host (the default with mode rw): programs of the " +
        "guest and of the host exclude each other. guest (the default otherwise): only inside the guest.",
    ),
  },
  {
    name: "protect",
    schema: Type.Array(
      Type.String({ pattern: "^[^\\x00]+$", expected: 'a path below the directory, such as ".git/hooks"' }),
      {
        description:
          'With mode = "rw": paths in the directory that the guest can neither change nor create, with everything ' +
          "below them. capsa always protects this file and itself.",
        expected: 'a list of paths below the directory, such as [".git/hooks", ".git/config"]',
      },
    ),
    parse: (given: string[], path, context) => {
      if (given.length > MAX_PROTECTED)
        context.report(path, `${given.length} are more than ${MAX_PROTECTED}`);
      return given.map((one, index) => parsePathBelow(one, [...path, index], context));
    },
  },
  quantity({
    name: "size",
    unit: BYTES,
    least: 4096,
    most: 2 ** 50,
    example: "512M",
    words:
      'Most data that the guest may add, with mode "rw" or "transaction". Beyond it writes fail as on a full ' +
      "disk (default: no limit)",
  }),
];

const table = (side: Side) =>
  tableSchema(KEYS, side, {
    description: "A directory or one file of the host that the guest sees.",
    expected: "a [[sandbox.NAME.shares]] table",
  });
const TABLES = { toml: table("toml"), typescript: table("typescript") };
const LIST = {
  description: "Directories of the host that the guest sees. One share may lie inside another.",
  expected: "[[sandbox.NAME.shares]] tables",
};

export const SHARES: Key = {
  name: "shares",
  default: [],
  partly: true,
  schema: Type.Array(TABLES.toml, LIST),
  plain: Type.Array(TABLES.typescript, LIST),
  parse: (given: unknown[], path, context) => {
    if (given.length > MAX_SHARES) context.report(path, `${given.length} are more than ${MAX_SHARES}`);
    return resolveList(KEYS, TABLES[context.side], given, path, context);
  },
  tell: (shares: readonly ShareSpec[]) => ({
    shares: shares.map(({ guest, mode, protect }) => ({ path: guest, mode, readOnlyPaths: protect })),
  }),
};

function parseOwnership(
  given: string | { mode?: string; uids?: IdRange[]; gids?: IdRange[] },
  path: Path,
  { report }: Context,
): unknown {
  if (typeof given === "string") return { mode: given };
  const { uids = [], gids = [], mode = "map" } = given;
  if (mode !== "map") return { mode };
  checkRanges([...path, "uids"], uids, report);
  checkRanges([...path, "gids"], gids, report);
  return { mode, uids, gids };
}

function checkRanges(path: Path, ranges: readonly IdRange[], report: Report): void {
  if (ranges.length > MAX_ID_RANGES) report(path, `${ranges.length} are more than ${MAX_ID_RANGES}`);
  ranges.forEach((range, index) => {
    for (const side of ["guest", "host"] as const)
      if (range[side] + range.count - 1 > MAX_ID)
        report([...path, index, side], `its ids go beyond ${MAX_ID}, the last that there is`);
    const clash = ranges
      .slice(0, index)
      .some((other) => range.guest < other.guest + other.count && other.guest < range.guest + range.count);
    if (clash) report([...path, index], "its guest ids overlap those of another range");
  });
}

/** Each share beside this machine's files, and all beside one another. Some may be missing in the list. */
export function checkShares(shares: readonly ShareSpec[], checker: Checker): void {
  const { report } = checker;
  shares.forEach((share, index) => {
    const at = ["shares", index];
    const { host, mode, ownership, locks, protect = [] } = share;
    const isThere = checkReadable([...at, "host"], host, { kind: "shared" }, checker);
    const isFile = isThere && statSync(host, { throwIfNoEntry: false })?.isFile();
    if (isFile && mode === "transaction")
      report(
        [...at, "mode"],
        "a transaction is of a directory, not of one file",
        "share the directory it is in",
      );
    if (isFile && protect.length > 0)
      report([...at, "protect"], "a single file has no paths below it", "share it read-only");
    if (mode === "transaction" && ownership.mode === "caller")
      report(
        [...at, "ownership"],
        'in a transaction files have owners: it cannot be "caller"',
        'leave it out, or use "passthrough" or ranges of ids',
      );
    if (mode === "transaction" && locks === "host")
      report(
        [...at, "locks"],
        'in a transaction locks are the guest\'s: they cannot be "host"',
        "leave it out",
      );
    if (share.size !== undefined) checkSize(share, shares, [...at, "size"], report);
    checkPlace(share, shares.slice(0, index), [...at, "guest"], report);
    checkInside(share, outerOf(share, shares), [...at, "guest"], report);
  });
}

/** What is added by way of another share is that one's: it would pass for this machine's, and what moves there for removed. */
function checkSize(share: ShareSpec, shares: readonly ShareSpec[], at: Path, report: Report): void {
  if (share.mode === "ro")
    report(at, "a guest cannot add to a read-only share", "leave it out, or choose a mode");
  if (share.mode !== "rw") return;
  const own = realPath(share.host);
  const other = shares.find((one) => {
    const its = realPath(one.host);
    return one !== share && one.mode === "rw" && (isWithin(own, its) || isWithin(its, own));
  });
  if (other !== undefined)
    report(
      at,
      `the guest can write there by ${other.guest}, too, which would not count`,
      "share the directory once",
    );
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function checkPlace(
  { guest, host }: ShareSpec,
  before: readonly ShareSpec[],
  at: Path,
  report: Report,
): void {
  const reserved = RESERVED.find((place) => isWithin(guest, place));
  if (guest === "/")
    report(at, "a share cannot replace the guest's /", `for the whole file system use rootfs = "${host}"`);
  if (reserved !== undefined)
    report(at, `capsa needs ${reserved} in the guest`, `choose a path outside ${RESERVED.join(", ")}`);
  if (before.some((other) => other.guest === guest))
    report(at, `two shares are mounted on ${guest}`, "give each its own path");
}

/** The share that this one lies in: the innermost, if it lies in some. */
export function outerOf({ guest }: ShareSpec, shares: readonly ShareSpec[]): ShareSpec | undefined {
  return shares
    .filter((other) => other.guest !== guest && isWithin(guest, other.guest))
    .sort((one, other) => other.guest.length - one.guest.length)[0];
}

/** Its place in the outer one is seen where it is missing; what is there has to be of its kind. A link is the guest's to follow. */
function checkInside(share: ShareSpec, outer: ShareSpec | undefined, at: Path, report: Report): void {
  if (outer === undefined) return;
  if (statusOf(outer.host)?.isFile()) {
    report(at, `it lies inside the share ${outer.guest}, which is a single file`, "move one of them");
    return;
  }
  const names = placeIn(share, outer);
  for (let length = 1; length <= names.length; length++) {
    const place = join(outer.host, ...names.slice(0, length));
    const status = statusOf(place);
    if (status === undefined || status.isSymbolicLink()) return;
    const isFile = length === names.length && statSync(share.host, { throwIfNoEntry: false })?.isFile();
    if (status.isDirectory() === !isFile) continue;
    const kind = isFile ? "a directory" : "no directory";
    report(at, `${place} on this machine is ${kind}, so the share cannot be mounted there`, "move it");
    return;
  }
}

/** The names on the way from the outer share to this one. */
export function placeIn({ guest }: ShareSpec, outer: ShareSpec): string[] {
  return posix.relative(outer.guest, guest).split("/");
}

/** Of what is there, a link too; undefined where nothing is, or nobody may look. */
function statusOf(path: string) {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}
