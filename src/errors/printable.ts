/** Text that a guest may have chosen, as a terminal may be given it: what would steer it, or hide, is escaped. */

/**
 * Control characters of C0 and C1, controls of the direction of writing and other characters that do not show, line and
 * paragraph separators, halves of surrogate pairs. The variation selector behind a pictogram is part of what is seen.
 */
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|(?!(?<=\p{Extended_Pictographic})[\ufe0e\ufe0f])\p{Default_Ignorable_Code_Point}/gu;

/** One line: newlines and tabs are escaped as well, so that nothing in it passes for a line of somebody else's. */
export function printableLine(text: string): string {
  return replaceHidden(text, escaped);
}

/** Text whose newlines and tabs stay. */
export function printable(text: string): string {
  return replaceHidden(text, (char) => (char === "\n" || char === "\t" ? char : escaped(char)));
}

/** The same JSON as JSON.stringify's, in which what is hidden shows as `\uXXXX`. */
export function printableJson(value: unknown, indent?: number): string {
  // newlines stand only between values: those within one are escaped already
  return replaceHidden(JSON.stringify(value, null, indent), (char) => (char === "\n" ? char : inJson(char)));
}

/** Any value in a few words, for an error about it. Runs nothing of the value's own. */
export function shown(value: unknown): string {
  if (typeof value === "string") return printableJson(value.length > 100 ? `${value.slice(0, 100)}…` : value);
  if (typeof value === "function" || typeof value === "symbol") return `a ${typeof value}`;
  if (typeof value === "object" && value !== null) return "an object";
  return String(value).slice(0, 100);
}

/** Any value in a message: a table or a list as JSON, the rest as `shown` has it. */
export function quote(value: unknown): string {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return shown(value);
  try {
    return printableJson(value).slice(0, 200);
  } catch {
    return shown(value);
  }
}

/** A basic string of TOML, whose escapes are whole characters'. */
export function printableToml(text: string): string {
  return replaceHidden(JSON.stringify(text.toWellFormed()), (char) => {
    const digits = char.codePointAt(0)!.toString(16);
    return digits.length > 4 ? `\\U${digits.padStart(8, "0")}` : `\\u${digits.padStart(4, "0")}`;
  });
}

/** `text` with each hidden character, newlines and tabs among them, as `shown` has it. */
export function replaceHidden(text: string, shown: (char: string) => string): string {
  return text.replaceAll(HIDDEN, shown);
}

/** "\x1b", "\u202e", "\u{e0041}". */
function escaped(char: string): string {
  const code = char.codePointAt(0)!;
  const digits = code.toString(16);
  if (code > 0xffff) return `\\u{${digits}}`;
  return code > 0xff ? `\\u${digits.padStart(4, "0")}` : `\\x${digits.padStart(2, "0")}`;
}

/** JSON escapes the halves of a surrogate pair, each by itself. */
function inJson(char: string): string {
  return char
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");
}
