/** The JSON Schema (draft 2020-12) of `capsa.toml`, made from the schema that checks it. */
import { FileSchema } from "./schema.ts";

/** Plain data; what only capsa's own messages use is left out. */
export function jsonSchema(): Record<string, unknown> {
  const plain = JSON.parse(
    JSON.stringify(FileSchema, (key, value) => (key === "expected" || key === "names" ? undefined : value)),
  );
  return { $schema: "https://json-schema.org/draft/2020-12/schema", ...plain };
}
