/** What a command shows: what a sandbox prints, copied, and rows of text in aligned columns. */

import { printableLine } from "../errors/printable.ts";

type Write = (chunk: string | Uint8Array) => Promise<void>;

/** To the byte, at the pace of `write`; resolves at the stream's end. */
export async function copy(from: ReadableStream<Uint8Array>, write: Write): Promise<void> {
  for await (const chunk of from) await write(chunk);
}

/** Line by line, each behind `prefix`; a last line without its newline gets one. */
export async function copyLines(
  from: ReadableStream<Uint8Array>,
  write: Write,
  prefix: string,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of from) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (lines.length > 0) await write(lines.map((line) => `${prefix}${line}\n`).join(""));
  }
  rest += decoder.decode();
  if (rest) await write(`${prefix}${rest}\n`);
}

export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows.map((row) => row.map(printableLine))];
  const widths = head.map((_, column) => Math.max(...all.map((row) => Bun.stringWidth(row[column] ?? ""))));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell + " ".repeat(widths[column]! - Bun.stringWidth(cell)))
      .join("  ")
      .trimEnd();
  return `${all.map(line).join("\n")}\n`;
}
