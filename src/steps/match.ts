/** Texts of steps: what one must be, whether it is that, and how much of it is kept to tell. */
import { type Static, Type } from "@sinclair/typebox";
import { printableJson } from "../errors/printable.ts";
import { closed, optional, type Path, type Reporter, text } from "../spec/forms.ts";
import { Collector } from "../wire/streams.ts";
import type { Mismatch } from "./api.ts";

/** Longest text that can be compared with an expectation, bytes. */
export const COMPARABLE = 16 * 1024 * 1024;
/** Longest piece of a text that a report shows, in characters. */
const SHOWN = 160;
/** How much of the end of a command's output a report shows, bytes. */
const TAIL = 4096;

/** All that are given must hold. */
export interface TextMatch {
  /** The whole text, to the byte. */
  readonly equals?: string;
  /** Each occurs in it. */
  readonly contains?: readonly string[];
  readonly matches?: RegExp;
}

export const TextMatchSchema = Type.Object(
  {
    equals: optional(text("The whole text, to the byte.")),
    contains: optional(
      Type.Union(
        [
          Type.String(),
          Type.Array(Type.String({ expected: "text in quotes" }), {
            minItems: 1,
            expected: "a list of texts",
          }),
        ],
        {
          description: "A text that must occur, or a list of texts that must all occur.",
          expected: 'a text or a list of texts, such as ["a", "b"]',
        },
      ),
    ),
    matches: optional(text("A JavaScript regular expression; ^ and $ match at every line.")),
  },
  {
    ...closed,
    description: "Conditions for the text. All of them must hold.",
    expected: 'a table such as { contains = "ok" }',
  },
);

export function resolveMatch(
  { equals, contains, matches }: Static<typeof TextMatchSchema>,
  path: Path,
  report: Reporter,
): TextMatch {
  if (equals === undefined && contains === undefined && matches === undefined) {
    report(path, "this expects nothing", "add equals, contains or matches");
  }
  return {
    ...(equals === undefined ? {} : { equals }),
    ...(contains === undefined ? {} : { contains: typeof contains === "string" ? [contains] : contains }),
    ...(matches === undefined ? {} : { matches: resolvePattern(matches, [...path, "matches"], report) }),
  };
}

/** `^` and `$` match at every line. */
export function resolvePattern(pattern: string, path: Path, report: Reporter): RegExp {
  try {
    return new RegExp(pattern, "mu");
  } catch (error) {
    const why = (error as Error).message.replace(/^Invalid regular expression: /, "");
    report(
      path,
      `not a regular expression: ${why}`,
      "in TOML, write patterns in single quotes, where \\ stays \\",
    );
    return /(?:)/;
  }
}

/** That a text is too long to be compared. */
export function tooLong(subject: string): Mismatch {
  return { subject, expected: `at most ${COMPARABLE / 1024 / 1024} MiB to compare`, seen: "more" };
}

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

/** Keeps what a command prints: whole up to a limit for expectations, and always the end for reports. */
export class Capture {
  readonly #limit: number;
  readonly #kept: Collector;

  /** `whole`: keep everything up to {@link COMPARABLE}; else only the end. */
  constructor(whole: boolean) {
    this.#limit = whole ? COMPARABLE : 0;
    this.#kept = new Collector(this.#limit, TAIL);
  }

  add(chunk: Uint8Array): void {
    this.#kept.add(chunk);
  }

  /** Everything that was printed, or undefined where that was more than was kept. */
  whole(): Uint8Array | undefined {
    return this.#kept.length <= this.#limit ? this.#kept.first() : undefined;
  }

  /** The end as text, from the beginning of a line where something is left out. */
  tail(): string {
    const text = new TextDecoder().decode(this.#kept.bytes().subarray(-TAIL));
    return this.#kept.length > TAIL ? text.slice(text.indexOf("\n") + 1) : text;
  }
}
