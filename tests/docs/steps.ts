/**
 * What the documentation says of each kind of step, made of the kinds themselves: the tables and examples of docs/steps.md,
 * and the steps of capsa.toml.example. Run by itself it writes both.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KindGuard, type TSchema } from "@sinclair/typebox";
import { kinds } from "../../src/steps/index.ts";
import { ROOT } from "./blocks.ts";

interface Made {
  readonly file: string;
  /** What is between these is made. */
  readonly from: string;
  readonly to: string;
  readonly text: string;
}

export function madeOfSteps(): Made[] {
  return [
    { file: "docs/steps.md", from: "<!-- made by `make docs` -->\n", to: "<!-- end -->\n", text: page() },
    { file: "capsa.toml.example", from: "# ---- Steps,", to: "# ---- Limits of a model", text: example() },
  ];
}

/** The file with that part in its place, and as it is. */
export function withMade({ file, from, to, text }: Made): { wanted: string; there: string } {
  const there = readFileSync(join(ROOT, file), "utf8");
  const start = there.indexOf(from) + from.length;
  const end = there.indexOf(to, start);
  if (start < from.length || end === -1) throw new Error(`${file} has no place for its steps`);
  return { wanted: there.slice(0, start) + text + there.slice(end), there };
}

function page(): string {
  const list = Object.entries(kinds).map(([verb, { schema }]) => {
    const others = Object.keys(schema.properties).filter((key) => key !== verb);
    return `| [\`${verb}\`](#${verb}) | ${described(schema.properties, verb)} | ${listed(others)} |\n`;
  });
  const sections = Object.entries(kinds).map(([verb, { schema, example: text }]) => {
    const rows = [...keys(schema)].map(
      ([key, { description }]) => `| \`${key}\` | ${cell(description?.replace(`${verb}: `, ""))} |\n`,
    );
    return `\n## \`${verb}\`\n\n| key | |\n|---|---|\n${rows.join("")}\n\`\`\`toml${text}\`\`\`\n`;
  });
  return `\n| step | | keys that go with it |\n|---|---|---|\n${list.join("")}${sections.join("")}\n`;
}

function example(): string {
  const all = Object.values(kinds).map(({ example: text }) => text);
  const named = all.join("").replaceAll("[[steps]]\n", '[[steps]]\nsandbox = "service"\n');
  return ` in order. Each does exactly one of ${Object.keys(kinds).join(", ")}: docs/steps.md. ----\n\n# sandbox: where the step runs; needed only if the file has several sandboxes${named}\n`;
}

/** "expect.stdout.equals" and so on. */
function* keys(schema: TSchema, path = ""): Generator<[string, TSchema]> {
  if (!KindGuard.IsObject(schema)) return;
  for (const [key, property] of Object.entries(schema.properties)) {
    yield [`${path}${key}`, property];
    yield* keys(property, `${path}${key}.`);
  }
}

function described(properties: Record<string, TSchema>, key: string): string {
  return cell(properties[key]!.description);
}

function cell(text = ""): string {
  return text.replaceAll("|", "\\|");
}

function listed(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(", ");
}

if (import.meta.main)
  for (const made of madeOfSteps()) writeFileSync(join(ROOT, made.file), withMade(made).wanted);
