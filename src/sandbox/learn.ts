/** From what a sandbox has used of its shares to those that it needs. */

import { dirname, relative } from "node:path";
import { printableToml as quote } from "../errors/printable.ts";
import type { Ownership, ShareSpec } from "../spec/spec.ts";
import type { ShareUse } from "./api.ts";

/** What one has learned of a share from a run. */
export interface LearnedShare {
  readonly share: ShareSpec;
  /** `refused`: it tried to write a read-only one; `kept`: a transactional one, which stays as it is. */
  readonly use: "unused" | "read" | "written" | "refused" | "kept";
  /** The mode that is enough for what was done; absent: the share is not needed. */
  readonly mode?: ShareSpec["mode"];
  /** In and below which of its entries it wrote, or tried to: the first of them; `more`: there were others. */
  readonly entries: readonly string[];
  readonly more: boolean;
}

/** `uses`: of all shares but those in mode `transaction`. */
export function learnShares(shares: readonly ShareSpec[], uses: readonly ShareUse[]): LearnedShare[] {
  return shares.map((share) => {
    if (share.mode === "transaction")
      return { share, use: "kept", mode: share.mode, entries: [], more: false };
    const { used, written, entries, more } = uses.find(({ guest }) => guest === share.guest)!;
    const learned = { share, entries, more };
    if (!used) return { ...learned, use: "unused" };
    if (!written) return { ...learned, use: "read", mode: "ro" };
    return { ...learned, use: share.mode === "ro" ? "refused" : "written", mode: share.mode };
  });
}

/** `[[sandbox.NAME.shares]]` tables for the `capsa.toml` that is `file`; what is left out is a comment. */
export function sharesToml(sandbox: string, file: string, learned: readonly LearnedShare[]): string {
  const kept = learned.flatMap((one) => {
    const { share, mode } = one;
    if (mode === undefined) return [];
    return [
      `[[sandbox.${sandbox}.shares]] # ${describe(one)}`,
      `host = ${quote(shown(share.host, file))}`,
      `guest = ${quote(share.guest)}`,
      `mode = "${mode}"`,
      ...(share.ownership.mode === "root" ? [] : [`ownership = ${ownership(share.ownership)}`]),
      ...(share.cache === "auto" ? [] : [`cache = "${share.cache}"`]),
      ...(share.locks === undefined ? [] : [`locks = "${share.locks}"`]),
      ...(share.protect === undefined ? [] : [`protect = [${share.protect.map(quote).join(", ")}]`]),
      "",
    ];
  });
  const unused = learned.filter(({ mode }) => mode === undefined);
  const notes = unused.map(
    ({ share }) => `# not used, so left out: ${quote(shown(share.host, file))} at ${quote(share.guest)}`,
  );
  return [...kept, ...notes, ...(notes.length > 0 ? [""] : [])].map((line) => `${line}\n`).join("");
}

function describe({ share, use, entries, more }: LearnedShare): string {
  const where = entries.length === 0 ? "" : `: ${entries.join(", ")}${more ? " and others" : ""}`;
  switch (use) {
    case "kept":
      return 'changes in it wait for a yes: "capsa diff" tells them';
    case "written":
      return `written${where}`;
    case "refused":
      return `read; writing was tried, and refused${where}`;
    default:
      return share.mode === "rw" ? 'only read: "ro" is enough' : "read";
  }
}

function ownership(given: Ownership): string {
  if (given.mode !== "map") return quote(given.mode);
  const ranges = (list: typeof given.uids) =>
    list.map(({ guest, host, count }) => `{ guest = ${guest}, host = ${host}, count = ${count} }`).join(", ");
  return `{ uids = [${ranges(given.uids)}], gids = [${ranges(given.gids)}] }`;
}

/** As the file may say it: relative where that does not lead out of its directory. */
function shown(host: string, file: string): string {
  const path = relative(dirname(file), host);
  return path === "" ? "." : path.startsWith("..") ? host : `./${path}`;
}
