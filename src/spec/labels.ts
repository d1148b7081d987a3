/** Labels of a sandbox: texts by name, which mean something to whoever gives them, and by which sandboxes are chosen. */
import { Type } from "@sinclair/typebox";
import { closed } from "./forms.ts";
import type { Key } from "./key.ts";

const MOST = 64;
const NAME = "^[A-Za-z_][A-Za-z0-9_]{0,62}$";
export type Labels = Readonly<Record<string, string>>;

export const LABELS: Key = {
  name: "labels",
  schema: Type.Record(
    Type.String({ pattern: NAME }),
    Type.String({
      pattern: "^[^\\x00-\\x1f\\x7f]{0,256}$",
      expected: "a text of up to 256 characters, without control characters",
    }),
    {
      ...closed,
      description:
        "At most 64 labels. `capsa ps`, `capsa metrics` and `capsa mcp` show them. `capsa ps` and `capsa down` " +
        "select by them with --label NAME=VALUE.",
      names: "up to 63 letters, digits and underscores",
      expected: 'a table of texts, such as { team = "x" }',
    },
  ),
  parse: (given: Labels, path, { report }) => {
    const count = Object.keys(given).length;
    if (count > MOST) report(path, `${count} are more than ${MOST}`);
    return given;
  },
  tell: (labels: Labels) => ({ labels }),
};

/** What a sandbox has to have: a label of that name, and of that value where there is one. */
export interface WantedLabel {
  readonly name: string;
  readonly value?: string;
}

/** `NAME=VALUE` or `NAME`; undefined for what is neither. */
export function parseWantedLabel(text: string): WantedLabel | undefined {
  const [name = "", ...rest] = text.split("=");
  if (!new RegExp(NAME).test(name)) return undefined;
  return rest.length === 0 ? { name } : { name, value: rest.join("=") };
}

export function hasLabels(labels: Labels = {}, wanted: readonly WantedLabel[]): boolean {
  return wanted.every(
    ({ name, value }) => Object.hasOwn(labels, name) && (value === undefined || labels[name] === value),
  );
}
