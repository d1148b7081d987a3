/** Where in a TOML text each key and each value stands, which the parser itself does not tell. */

import type { Path } from "../spec/problem.ts";

/** 1-based; columns count UTF-16 units, as editors do. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Positions by path: keys of tables and, as numbers, elements of arrays. */
export class Positions {
  readonly #keys = new Map<string, Position>();
  readonly #values = new Map<string, Position>();

  /** Where the key was first written; for an element of an array of tables its `[[header]]`. */
  key(path: Path): Position | undefined {
    return this.#keys.get(JSON.stringify(path)) ?? this.#values.get(JSON.stringify(path));
  }

  /** Where the value begins; for a table made by a header, the header's key. */
  value(path: Path): Position | undefined {
    return this.#values.get(JSON.stringify(path)) ?? this.#keys.get(JSON.stringify(path));
  }

  /** The position of the nearest thing that is there: the value itself, or the table it is missing from. */
  nearest(path: Path): Position {
    for (let length = path.length; length > 0; length--) {
      const found = this.key(path.slice(0, length));
      if (found) return found;
    }
    return { line: 1, column: 1 };
  }

  /** For the scanner: the first writing of a key counts. */
  record(kind: "key" | "value", path: Path, position: Position): void {
    const map = kind === "key" ? this.#keys : this.#values;
    const id = JSON.stringify(path);
    if (!map.has(id)) map.set(id, position);
  }
}

/**
 * Scan a text that the TOML parser has accepted as well-formed (keys may still be defined twice).
 *
 * @throws SyntaxError for a text that is not well-formed TOML.
 */
export function scanPositions(text: string): Positions {
  return new Scanner(text).scan();
}

const ESCAPES: Record<string, string> = { b: "\b", t: "\t", n: "\n", f: "\f", r: "\r", e: "\x1b" };

class Scanner {
  readonly #text: string;
  readonly #lines: number[] = [0];
  readonly #positions = new Positions();
  /** How many elements each array of tables has so far, by path. */
  readonly #tableArrays = new Map<string, number>();
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) this.#lines.push(at + 1);
    if (text.startsWith("\uFEFF")) this.#at = 1;
  }

  scan(): Positions {
    let table: Path = [];
    for (this.#skip(true); this.#at < this.#text.length; this.#skip(true)) {
      if (this.#text.startsWith("[[", this.#at)) table = this.#header(2);
      else if (this.#text[this.#at] === "[") table = this.#header(1);
      else this.#assignment(table);
    }
    return this.#positions;
  }

  #header(brackets: 1 | 2): Path {
    this.#at += brackets;
    let path: Path = [];
    const keys = this.#keyPath();
    keys.forEach(({ name, position }, index) => {
      path = [...path, name];
      this.#positions.record("key", path, position);
      const id = JSON.stringify(path);
      const last = index === keys.length - 1;
      if (last && brackets === 2) {
        const count = this.#tableArrays.get(id) ?? 0;
        this.#tableArrays.set(id, count + 1);
        path = [...path, count];
        this.#positions.record("key", path, position);
      } else if (this.#tableArrays.has(id)) {
        path = [...path, this.#tableArrays.get(id)! - 1];
      }
    });
    this.#expect("]".repeat(brackets));
    return path;
  }

  #assignment(table: Path): void {
    let path = table;
    for (const { name, position } of this.#keyPath()) {
      path = [...path, name];
      this.#positions.record("key", path, position);
    }
    this.#expect("=");
    this.#skip(false);
    this.#value(path);
  }

  /** `a."b c".d`, blanks around the dots allowed. */
  #keyPath(): { name: string; position: Position }[] {
    const keys: { name: string; position: Position }[] = [];
    do {
      if (keys.length > 0) this.#at++;
      this.#skip(false);
      const position = this.#position();
      const first = this.#text[this.#at];
      const name = first === '"' || first === "'" ? this.#string() : this.#bareKey();
      keys.push({ name, position });
      this.#skip(false);
    } while (this.#text[this.#at] === ".");
    return keys;
  }

  #bareKey(): string {
    const start = this.#at;
    while (/[A-Za-z0-9_-]/.test(this.#text[this.#at] ?? "")) this.#at++;
    if (this.#at === start) this.#fail("a key");
    return this.#text.slice(start, this.#at);
  }

  #value(path: Path): void {
    this.#positions.record("value", path, this.#position());
    const first = this.#text[this.#at];
    if (first === '"' || first === "'") this.#string();
    else if (first === "[") this.#list("]", (index) => this.#value([...path, index]));
    else if (first === "{") this.#list("}", () => this.#assignment(path));
    else {
      const start = this.#at;
      while (!/[,\]}#\r\n]/.test(this.#text[this.#at] ?? "\n")) this.#at++;
      if (this.#at === start) this.#fail("a value");
    }
  }

  #list(close: string, element: (index: number) => void): void {
    this.#at++;
    this.#skip(true);
    for (let index = 0; this.#text[this.#at] !== close; index++) {
      element(index);
      this.#skip(true);
      if (this.#text[this.#at] === ",") this.#at++;
      else if (this.#text[this.#at] !== close) this.#fail(`"," or "${close}"`);
      this.#skip(true);
    }
    this.#at++;
  }

  /** Any of the four kinds of string; its value matters only for keys, which are never multi-line. */
  #string(): string {
    const quote = this.#text[this.#at]!;
    const multiline = this.#text.startsWith(quote.repeat(3), this.#at);
    this.#at += multiline ? 3 : 1;
    let value = "";
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined) this.#fail("the end of a string");
      if (multiline ? this.#text.startsWith(quote.repeat(3), this.#at) : char === quote) {
        this.#at += multiline ? 3 : 1;
        // a multi-line string may end in one or two quotes of its own
        while (multiline && this.#text[this.#at] === quote) this.#at++;
        return value;
      }
      if (char === "\\" && quote === '"') value += this.#escape();
      else {
        value += char;
        this.#at++;
      }
    }
  }

  #escape(): string {
    const letter = this.#text[this.#at + 1] ?? "";
    const digits = { x: 2, u: 4, U: 8 }[letter] ?? 0;
    const code = this.#text.slice(this.#at + 2, this.#at + 2 + digits);
    this.#at += 2 + digits;
    return digits > 0 ? String.fromCodePoint(Number.parseInt(code, 16)) : (ESCAPES[letter] ?? letter);
  }

  /** Past blanks and, where `lines`, line ends and comments. */
  #skip(lines: boolean): void {
    for (;;) {
      const char = this.#text[this.#at];
      if (char === " " || char === "\t" || (lines && (char === "\n" || char === "\r"))) this.#at++;
      else if (lines && char === "#") {
        const end = this.#text.indexOf("\n", this.#at);
        this.#at = end === -1 ? this.#text.length : end;
      } else return;
    }
  }

  #expect(wanted: string): void {
    if (!this.#text.startsWith(wanted, this.#at)) this.#fail(`"${wanted}"`);
    this.#at += wanted.length;
  }

  #position(): Position {
    let low = 0;
    let high = this.#lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lines[middle]! <= this.#at) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: this.#at - this.#lines[low]! + 1 };
  }

  #fail(wanted: string): never {
    const { line, column } = this.#position();
    throw new SyntaxError(`${line}:${column}: expected ${wanted}`);
  }
}
