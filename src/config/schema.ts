/** What `capsa.toml` may hold: sandboxes, steps and `[mcp]`, each as their lists of records say. */
import { type Static, Type } from "@sinclair/typebox";
import { closed, NAME, NAME_WORDS, optional } from "../spec/forms.ts";
import { McpSchema } from "../spec/mcp.ts";
import { SandboxSchema } from "../spec/sandbox.ts";
import { StepSchema } from "../steps/index.ts";

export const FileSchema = Type.Object(
  {
    sandbox: Type.Record(Type.String({ pattern: NAME }), SandboxSchema, {
      ...closed,
      description: "The sandboxes, by name.",
      names: NAME_WORDS,
      minProperties: 1,
      expected: "[sandbox.NAME] tables",
    }),
    steps: optional(
      Type.Array(StepSchema, { description: "The steps, in order.", expected: "[[steps]] tables" }),
    ),
    mcp: optional(McpSchema),
  },
  { ...closed, title: "capsa.toml", expected: "tables" },
);

export type ConfigFile = Static<typeof FileSchema>;
