import { describe, expect, test } from "bun:test";
import { KindGuard, type TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import toml from "toml";
import { jsonSchema } from "../../../src/config/json_schema.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { FileSchema } from "../../../src/config/schema.ts";
import { check } from "../../../src/spec/check.ts";
import { McpSchema } from "../../../src/spec/mcp.ts";
import { SandboxSchema } from "../../../src/spec/sandbox.ts";

const example = await Bun.file("capsa.toml.example").text();
/** With the keys switched on that name files which only some have. */
const everything = example.replaceAll(/^#(?=\w+ = )/gm, "");

/** Keys of every table in the schema, as "sandbox.*.shares.host". */
function* schemaKeys(schema: TSchema, path = ""): Generator<string> {
  if (KindGuard.IsUnion(schema)) for (const option of schema.anyOf) yield* schemaKeys(option, path);
  if (KindGuard.IsArray(schema)) yield* schemaKeys(schema.items, path);
  if (KindGuard.IsRecord(schema))
    yield* schemaKeys(Object.values(schema.patternProperties)[0] as TSchema, `${path}.*`);
  if (!KindGuard.IsObject(schema)) return;
  for (const [key, property] of Object.entries(schema.properties)) {
    yield `${path}.${key}`;
    yield* schemaKeys(property, `${path}.${key}`);
  }
}

function* usedKeys(value: unknown, schema: TSchema, path = ""): Generator<string> {
  if (KindGuard.IsUnion(schema)) for (const option of schema.anyOf) yield* usedKeys(value, option, path);
  if (KindGuard.IsArray(schema) && Array.isArray(value))
    for (const item of value) yield* usedKeys(item, schema.items, path);
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    if (KindGuard.IsRecord(schema))
      yield* usedKeys(inner, Object.values(schema.patternProperties)[0] as TSchema, `${path}.*`);
    if (KindGuard.IsObject(schema) && schema.properties[key]) {
      yield `${path}.${key}`;
      yield* usedKeys(inner, schema.properties[key], `${path}.${key}`);
    }
  }
}

describe("capsa.toml.example", () => {
  test("is a right file as it stands", () => {
    expect(parseConfig(example, `${process.cwd()}/capsa.toml.example`).steps.length).toBeGreaterThan(2);
  });

  test("shows every key there is, and no other", () => {
    const value = toml.parse(everything);
    expect([...check(FileSchema, value)]).toEqual([]);
    const wanted = [...new Set(schemaKeys(FileSchema))].sort();
    expect(wanted).toContain(".sandbox.*.shares.ownership.uids.count");
    expect([...new Set(usedKeys(value, FileSchema))].sort()).toEqual(wanted);
  });
});

test("capsa.toml.example tells the defaults that the schema has", () => {
  const wanted = [SandboxSchema, McpSchema].flatMap(({ properties }) =>
    Object.entries(properties).flatMap(([key, { description }]) => {
      const told = /\(default ([^) ]+)\)/.exec(String(description))?.[1];
      return told === undefined ? [] : [[key, told] as const];
    }),
  );
  expect(wanted.map(([key]) => key)).toContain("memory");
  for (const [key, told] of wanted)
    expect(example).toMatch(new RegExp(`^#?${key} = .*\\(default ${told}\\)$`, "m"));
});

describe("the JSON Schema", () => {
  test("in the tree is what `capsa schema` prints", async () => {
    expect(await Bun.file("src/config/capsa.schema.json").json()).toEqual(jsonSchema());
  });

  test("describes every key", () => {
    const bare: string[] = [];
    const visit = (schema: TSchema, path: string) => {
      if (KindGuard.IsUnion(schema)) for (const option of schema.anyOf) visit(option, path);
      if (KindGuard.IsArray(schema)) visit(schema.items, path);
      if (KindGuard.IsRecord(schema)) visit(Object.values(schema.patternProperties)[0] as TSchema, path);
      if (!KindGuard.IsObject(schema)) return;
      for (const [key, property] of Object.entries(schema.properties)) {
        if (!property.description) bare.push(`${path}.${key}`);
        visit(property, `${path}.${key}`);
      }
    };
    visit(FileSchema, "");
    expect(bare).toEqual([]);
  });
});

describe("check", () => {
  /** Every document made by replacing one value, or removing or adding one key, of a right one. */
  function* mutations(value: unknown): Generator<unknown> {
    const others = [0, -1, 1.5, "", "x", "/x", true, [], {}, [1], { x: 1 }, new Date(0)];
    if (Array.isArray(value)) {
      for (const [index, element] of value.entries()) {
        for (const changed of mutations(element)) yield value.with(index, changed);
        yield value.toSpliced(index, 1);
      }
    } else if (typeof value === "object" && value !== null && !(value instanceof Date)) {
      const table = value as Record<string, unknown>;
      for (const key of Object.keys(table)) {
        for (const changed of mutations(table[key])) yield { ...table, [key]: changed };
        yield Object.fromEntries(Object.entries(table).filter(([other]) => other !== key));
      }
      yield { ...table, unheardOf: 1 };
    }
    yield* others;
  }

  test("finds problems exactly where TypeBox's own check does", () => {
    let accepted = 0;
    let refused = 0;
    for (const document of mutations(toml.parse(everything))) {
      const right = Value.Check(FileSchema, document);
      if (right) accepted++;
      else refused++;
      if (([...check(FileSchema, document)].length === 0) !== right) {
        throw new Error(`check and TypeBox disagree on ${JSON.stringify(document)}`);
      }
    }
    expect(accepted).toBeGreaterThan(50);
    expect(refused).toBeGreaterThan(500);
  });

  test("says what was expected of everything it can refuse", () => {
    const said = new Set<string>();
    for (const document of mutations(toml.parse(everything))) {
      for (const { message } of check(FileSchema, document)) said.add(message);
    }
    expect(said.size).toBeGreaterThan(300);
    expect([...said].filter((message) => /undefined|\[object/.test(message))).toEqual([]);
  });
});
