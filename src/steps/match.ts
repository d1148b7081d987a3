/** Whether a text is what a step expects, and where it is not, how that is told. */
import { printableJson } from "../errors/printable.ts";
import type { Mismatch } from "./result.ts";
import type { TextMatch } from "./step.ts";

/** Longest piece of a text that a report shows, in characters. */
const SHOWN = 160;

/** Everything about `bytes` that `match` does not allow; `subject` is what reports call it. */
export function mismatches(subject: string, bytes: Uint8Array, match: TextMatch): Mismatch[] {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  const found: Mismatch[] = [];
  if (match.equals !== undefined && !Buffer.from(match.equals).equals(bytes)) {
    found.push(difference(subject, match.equals, text));
  }
  for (const part of match.contains ?? []) {
    if (!text.includes(part)) found.push({ subject, expected: `contains ${quote(part)}`, seen: quote(text) });
  }
  if (match.matches && !match.matches.test(text)) {
    found.push({ subject, expected: `matches /${match.matches.source}/`, seen: quote(text) });
  }
  return found;
}

function difference(subject: string, wanted: string, seen: string): Mismatch {
  const plain = { subject, expected: `equals ${quote(wanted)}`, seen: quote(seen) };
  if (seen.trimEnd() === wanted.trimEnd())
    return { ...plain, hint: "they differ only in blanks or newlines at the end" };
  const wantedLines = wanted.split("\n");
  const seenLines = seen.split("\n");
  const line = wantedLines.findIndex((text, index) => text !== seenLines[index]);
  if (wantedLines.length < 3 || line === -1) return plain;
  const at = (lines: string[]) => (line < lines.length ? quote(lines[line]!) : "no such line");
  return { subject, expected: `line ${line + 1} is ${at(wantedLines)}`, seen: at(seenLines) };
}

/** A text in quotes with what does not print escaped; of a long one the beginning and the length. */
export function quote(text: string): string {
  if (text.length <= SHOWN) return printableJson(text);
  return `${printableJson(text.slice(0, SHOWN))}… (${text.length} characters)`;
}
