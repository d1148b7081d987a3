/** Names as the guest made them, which may be any bytes, and as people and programs are shown them. */

import { replaceHidden } from "../errors/printable.ts";
import type { StagedShare } from "./staging.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A name as text that no other name has: what is not UTF-8, or what a terminal would obey or hide, shows as `\xNN`, a
 * backslash as `\x5c`.
 */
export function shownName(name: Uint8Array): string {
  try {
    return replaceHidden(decoder.decode(name).replaceAll("\\", "\\x5c"), (char) =>
      escaped(Buffer.from(char)),
    );
  } catch {
    return [...name]
      .map((byte) =>
        byte > 0x20 && byte < 0x7f && byte !== 0x5c ? String.fromCharCode(byte) : escaped([byte]),
      )
      .join("");
  }
}

function escaped(bytes: Iterable<number>): string {
  return [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}

/** The path in the guest. */
export function shownPath(share: StagedShare, path: readonly Uint8Array[]): string {
  return [share.guest, ...path.map(shownName)].join("/");
}

/** The path in the guest behind "a" or "b", for a patch. */
export function patchPath(side: "a" | "b", share: StagedShare, path: readonly Uint8Array[]): string {
  return quoted(`${Buffer.from(side + share.guest).toString("latin1")}/`, path);
}

/** As git writes and reads it in a patch: what it does not print is quoted, byte by byte. */
export function quoted(before: string, path: readonly Uint8Array[]): string {
  const plain = before + path.map((part) => Buffer.from(part).toString("latin1")).join("/");
  const quoted = plain.replaceAll(/[^ !#-[\]-~]/g, (byte) =>
    byte === '"' || byte === "\\" ? `\\${byte}` : `\\${byte.charCodeAt(0).toString(8).padStart(3, "0")}`,
  );
  return quoted === plain ? plain : `"${quoted}"`;
}

/** Whether a path is `chosen`, or lies below it. */
export function isWithin(path: string, chosen: string): boolean {
  const end = chosen.endsWith("/") ? chosen.slice(0, -1) : chosen;
  return path === end || path.startsWith(`${end}/`);
}
