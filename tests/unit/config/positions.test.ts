import { describe, expect, test } from "bun:test";
import toml from "toml";
import { type Position, scanPositions } from "../../../src/config/positions.ts";
import type { Path } from "../../../src/spec/forms.ts";

/** The text from the value's, or key's, position on, as far as `length`. */
function textAt(text: string, position: Position | undefined, length: number): string | undefined {
  if (!position) return undefined;
  return text.split("\n")[position.line - 1]?.slice(position.column - 1, position.column - 1 + length);
}

/** The path of every key and element of a parsed document. */
function* paths(value: unknown, path: Path = []): Generator<Path> {
  if (path.length > 0) yield path;
  if (Array.isArray(value))
    for (const [index, element] of value.entries()) yield* paths(element, [...path, index]);
  else if (typeof value === "object" && value !== null && !(value instanceof Date)) {
    for (const key of Object.keys(value))
      yield* paths((value as Record<string, unknown>)[key], [...path, key]);
  }
}

describe("scanPositions", () => {
  const cases: [name: string, text: string, path: Path, key: string, value: string][] = [
    ["plain key", "a = 1", ["a"], "1:1", "1:5"],
    ["blanks before key and value", "\t a\t=\t 1", ["a"], "1:3", "1:8"],
    ["key in a table", "# head\n[t]\n\na = 'x'", ["t", "a"], "4:1", "4:5"],
    ["the table itself", "\n [t.u]\na=1", ["t", "u"], "2:5", "2:5"],
    ["outer table of a header", "\n [t.u]\na=1", ["t"], "2:3", "2:3"],
    ["blanks in a header", "[ t . u ]\na=1", ["t", "u", "a"], "2:1", "2:3"],
    ["quoted key with a dot", '["a.b"]\n"c d".e = 1', ["a.b", "c d", "e"], "2:7", "2:11"],
    ["literal key", "'a\\n' = 1", ["a\\n"], "1:1", "1:9"],
    ["key with escapes", '"\\u00e9\\t\\x41" = 1', ["é\tA"], "1:1", "1:18"],
    ["numbers as keys", "1 = 2\n3.4 = 5", ["3", "4"], "2:3", "2:7"],
    ["dotted key", "a.b.c = 1", ["a", "b", "c"], "1:5", "1:9"],
    ["inner of a dotted key", "a.b.c = 1", ["a", "b"], "1:3", "1:3"],
    ["second dotted key of a table", "a.b = 1\na.c = 2", ["a", "c"], "2:3", "2:7"],
    ["element of an array of tables", "[[s]]\nx=1\n[[s]]\nx=2", ["s", 1], "3:3", "3:3"],
    ["key in the second element", "[[s]]\nx=1\n[[s]]\nx = 2", ["s", 1, "x"], "4:1", "4:5"],
    ["sub-table of an element", "[[s]]\n[s.t]\nx=1\n[[s]]\n[s.t]\nx=2", ["s", 1, "t", "x"], "6:1", "6:3"],
    [
      "array of tables in an element",
      "[[s]]\n[[s.t]]\n[[s.t]]\nx=1\n[[s]]\n[[s.t]]\nx=2",
      ["s", 0, "t", 1, "x"],
      "4:1",
      "4:3",
    ],
    [
      "and in the next",
      "[[s]]\n[[s.t]]\n[[s.t]]\nx=1\n[[s]]\n[[s.t]]\nx=2",
      ["s", 1, "t", 0, "x"],
      "7:1",
      "7:3",
    ],
    ["inline table", "a = { b = 1, c.d = 2 }", ["a", "c", "d"], "1:16", "1:20"],
    ["inline table over lines", "a = {\n  b = 1, # one\n  c = 2,\n}", ["a", "c"], "3:3", "3:7"],
    ["element of a list", "a = [ 1, 22,3 ]", ["a", 2], "1:13", "1:13"],
    ["list over lines with comments", "a = [\n  1, # ]\n  # 9\n  2\n]", ["a", 1], "4:3", "4:3"],
    ["table in a list", 'a = [{b = "]"}, {b = 2}]', ["a", 1, "b"], "1:18", "1:22"],
    ["list in a list", "a = [[1], [2, 3]]", ["a", 1, 1], "1:15", "1:15"],
    ["behind a text with brackets and hashes", 'a = "x # ] }"\nb = 1', ["b"], "2:1", "2:5"],
    ["behind an escaped quote", 'a = "x\\" = y"\nb = 1', ["b"], "2:1", "2:5"],
    ["behind a literal ending in a backslash", "a = 'x\\'\nb = 1", ["b"], "2:1", "2:5"],
    ["behind a multi-line text", 'a = """\nb = 0\n[x]\n"""\nb = 1', ["b"], "5:1", "5:5"],
    ["behind a multi-line text ending in quotes", 'a = """x"""""\nb = 1', ["b"], "2:1", "2:5"],
    ["behind a multi-line literal", "a = '''\n''\n\\'''\nb = 1", ["b"], "4:1", "4:5"],
    ["behind a date with a blank", "a = 1979-05-27 07:32:00 # x\nb = 1", ["b"], "2:1", "2:5"],
    ["Windows line ends", "[t]\r\na = 1\r\nb = 2", ["t", "b"], "3:1", "3:5"],
    ["no newline at the end after a comment", "b = 1 # end", ["b"], "1:1", "1:5"],
    ["two UTF-16 units count as two columns", '"😀" = 1', ["😀"], "1:1", "1:8"],
  ];
  test.each(cases)("%s", (_name, text, path, key, value) => {
    toml.parse(text);
    const positions = scanPositions(text);
    const told = (position: Position | undefined) => `${position?.line}:${position?.column}`;
    expect(told(positions.key(path))).toBe(key);
    expect(told(positions.value(path))).toBe(value);
  });

  test("every key and element of a document has a position, and the text there begins with it", async () => {
    const files = ["capsa.toml.example", "examples/python/capsa.toml", "examples/build/capsa.toml"];
    for (const file of files) {
      const text = await Bun.file(file).text();
      const positions = scanPositions(text);
      let count = 0;
      for (const path of paths(toml.parse(text))) {
        const name = path.at(-1)!;
        if (typeof name === "string") expect(textAt(text, positions.key(path), name.length)).toBe(name);
        else expect(positions.value(path)).toBeDefined();
        count++;
      }
      expect(count).toBeGreaterThan(20);
    }
  });

  test("of a key written twice the first counts", () => {
    expect(scanPositions("a = 1\na = 2").key(["a"])).toEqual({ line: 1, column: 1 });
  });

  test("the nearest position of what is missing is that of its table", () => {
    const positions = scanPositions("[t]\na = 1\n[u]\n");
    expect(positions.nearest(["u", "x", "y"])).toEqual({ line: 3, column: 2 });
    expect(positions.nearest(["x"])).toEqual({ line: 1, column: 1 });
  });

  test.each(["a", "a = ", "[a", "a = [1", 'a = "x', "= 1", "a = {b}"])(
    "throws on %j, which is not TOML",
    (text) => {
      expect(() => scanPositions(text)).toThrow(SyntaxError);
    },
  );
});

/** Random documents of all that TOML has, each key once: the parser says what is in them, the scanner where. */
class Documents {
  #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** From 0 to `count` - 1. */
  below(count: number): number {
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#seed / 2 ** 32) * count);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  blank = () => this.pick(["", "", " ", "\t "]);
  /** Where lines may end. */
  gap = () => this.pick(["", "", " ", "\n", ' # ] } " = [x]\n', "\r\n\t"]);
  repeat = (least: number, most: number, make: () => string) =>
    Array.from({ length: least + this.below(most - least + 1) }, make);

  key(): string {
    const bare = this.pick(["a", "b-1", "_", "7", "Key", "true", "1979-05-27", "inf"]);
    return this.pick([
      bare,
      bare,
      `"${bare}${this.pick([".", " x", "\\t", "\\u00e9", '\\"', "\\U0001F600", "#", "]", "="])}"`,
      `'${bare}${this.pick(["\\", '"', ".", "# ", "é😀"])}'`,
    ]);
  }

  keyPath = () => this.repeat(1, 3, () => this.key()).join(`${this.blank()}.${this.blank()}`);

  text(): string {
    const inner = this.repeat(0, 4, () =>
      this.pick(["x", " ", "#", "[", "]", "}", "=", ",", "é", "😀"]),
    ).join("");
    return this.pick([
      `"${inner}${this.pick(["", '\\"', "\\\\", "\\n", "\\u0041", "\\e", "\\x41"])}"`,
      `'${inner}${this.pick(["", "\\", '"'])}'`,
      `"""${this.pick(["", "\n", "\r\n"])}${inner}${this.pick(["", '"', '""', "\\\n  ", '\\"'])}x${this.pick(["", '"', '""'])}"""`,
      `'''${this.pick(["", "\n"])}${inner}${this.pick(["", "'", "''"])}x${this.pick(["", "'", "''"])}'''`,
    ]);
  }

  value(depth: number): string {
    const scalars = [
      "0",
      "-17",
      "1_000",
      "0xDEAD_beef",
      "0o17",
      "0b1",
      "1.5",
      "-1e+3",
      "inf",
      "-nan",
      "true",
      "false",
    ];
    const dates = ["1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00.5+01:00"];
    const kind = this.below(depth > 0 ? 10 : 6);
    if (kind < 3) return this.pick(scalars);
    if (kind < 4) return this.pick(dates);
    if (kind < 6) return this.text();
    const separator = () => `${this.gap()},${this.gap()}`;
    if (kind < 8) {
      const elements = this.repeat(0, 4, () => this.value(depth - 1));
      const tail = elements.length > 0 && this.below(3) === 0 ? "," : "";
      return `[${this.gap()}${elements.map((one, at) => (at > 0 ? separator() : "") + one).join("")}${this.gap()}${tail}${this.gap()}]`;
    }
    const members = this.repeat(0, 3, () => this.assignment(depth - 1));
    return `{${this.gap()}${members.map((one, at) => (at > 0 ? separator() : "") + one).join("")}${this.gap()}}`;
  }

  assignment = (depth: number) => `${this.keyPath()}${this.blank()}=${this.blank()}${this.value(depth)}`;

  document(): string {
    const end = () =>
      `${this.blank()}${this.pick(["", "", "# a = 1", "#"])}${this.pick(["\n", "\n", "\r\n", "\n\n"])}`;
    const header = () => {
      const keys = `${this.blank()}${this.keyPath()}${this.blank()}`;
      return this.pick([`[${keys}]`, `[[${keys}]]`]);
    };
    const line = () =>
      this.blank() + this.pick([() => this.assignment(3), () => this.assignment(2), header])() + end();
    return this.pick(["", "", "\uFEFF"]) + this.repeat(0, 12, line).join("");
  }
}

test("of any document that the parser takes the scanner knows where all is", () => {
  const documents = new Documents(Number(process.env.SEED ?? 1));
  const names = new Map<string, string>();
  /** A key as the parser reads it. */
  const nameOf = (written: string) => {
    if (!names.has(written)) names.set(written, Object.keys(toml.parse(`${written} = 1`))[0]!);
    return names.get(written);
  };
  const wrong: string[] = [];
  let [accepted, checked] = [0, 0];
  for (let round = 0; round < Number(process.env.ROUNDS ?? 800); round++) {
    const text = documents.document();
    let value: unknown;
    try {
      value = toml.parse(text);
    } catch {
      continue; // mostly a key that is there already
    }
    accepted++;
    const positions = scanPositions(text);
    const lines = text.split("\n");
    const from = ({ line, column }: Position) =>
      lines
        .slice(line - 1)
        .join("\n")
        .slice(column - 1);
    for (const [path, given] of entries(value)) {
      const [key, at, name] = [positions.key(path), positions.value(path), path.at(-1)!];
      const written = key && /^("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)/.exec(from(key))?.[0];
      const isKey = typeof name === "number" || (written !== undefined && nameOf(written) === name);
      // a table, and a list of tables, may have been made by a header, and are at its key
      const isValue =
        at !== undefined && (beginning(given).test(from(at)) || (typeof given === "object" && at === key));
      if (!isKey || !isValue) wrong.push(`${JSON.stringify(path)} in ${JSON.stringify(text)}`);
      checked++;
    }
  }
  expect(wrong).toEqual([]);
  expect(accepted).toBeGreaterThan(200);
  expect(checked).toBeGreaterThan(2000);
});

/** Every path of a parsed document, and what is there. */
function* entries(value: unknown): Generator<[Path, unknown]> {
  for (const path of paths(value)) {
    let inner = value;
    for (const key of path) inner = (inner as Record<string | number, unknown>)[key];
    yield [path, inner];
  }
}

/** What text begins a value. */
function beginning(value: unknown): RegExp {
  if (typeof value === "string") return /^["'0-9]/; // a date without a time is one, too
  if (Array.isArray(value)) return /^\[/;
  return typeof value === "object" && !(value instanceof Date) && value !== null ? /^\{/ : /^[-+0-9tfin]/;
}
