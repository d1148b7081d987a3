/** Keys of `[mcp]`: what the operator of `capsa mcp` lets a model have, beside what the sandboxes are. */
import { hostPath } from "./forms.ts";
import { type Context, fromTypeScript, type Key, quantity, resolveTable, tableSchema } from "./key.ts";
import { type Checker, checkReadable, parseHostPath } from "./paths.ts";
import { BYTES, TIME } from "./units.ts";

export interface McpLimits {
  /** Sandboxes at a time. */
  readonly maxSandboxes: number;
  /** How long a command may take, milliseconds. */
  readonly execTimeoutMs: number;
  /** Bytes of a stream or a file that one answer holds. */
  readonly maxOutput: number;
  /** Absolute path of the directory that `download` writes into; without it there is no such tool. */
  readonly downloads?: string;
  /** Bytes that all downloads together may take. */
  readonly maxDownload: number;
}

const KEYS: readonly Key[] = [
  quantity({ name: "maxSandboxes", least: 1, most: 1000, default: 4, words: "Most sandboxes at a time" }),
  quantity({
    name: "execTimeout",
    field: "execTimeoutMs",
    unit: TIME,
    least: 1,
    most: 24 * 3_600_000,
    default: 120_000,
    example: "2m",
    words: "How long a command may take",
  }),
  quantity({
    name: "maxOutput",
    unit: BYTES,
    least: 1,
    most: 2 ** 30,
    default: 65_536,
    example: "64K",
    words: "Most of a stream or a file in one answer",
  }),
  {
    name: "downloads",
    schema: hostPath(
      "Directory that the model may copy files of a sandbox into. A relative path starts at the directory of " +
        "this file (default: none).",
    ),
    parse: parseHostPath,
  },
  quantity({
    name: "maxDownload",
    unit: BYTES,
    least: 1,
    most: 2 ** 50,
    default: 2 ** 30,
    example: "1G",
    words: "Most data to copy in total",
  }),
];

const TABLE = { expected: `a table of ${KEYS.map(({ name }) => name).join(", ")}` };

export const McpSchema = tableSchema(KEYS, "toml", {
  ...TABLE,
  description: "The limits of a model that uses `capsa mcp`.",
});

const LimitsSchema = tableSchema(KEYS, "typescript", TABLE);

/** With defaults, of what the schema of the context's side was checked against. */
export function resolveLimits(given: Readonly<Record<string, unknown>>, context: Context): McpLimits {
  return resolveTable(KEYS, given, [], context) as unknown as McpLimits;
}

/** Reports what this machine cannot have of them. */
export function checkLimits({ downloads }: McpLimits, checker: Checker): void {
  if (downloads !== undefined)
    checkReadable(["downloads"], downloads, { kind: "dir", access: "write" }, checker);
}

/** The same from a command line. Throws `SpecError` for the first thing that cannot be. */
export function toLimits(given: Partial<McpLimits>): McpLimits {
  return fromTypeScript(LimitsSchema, given, (context) => {
    const limits = resolveLimits({ ...given }, context);
    checkLimits(limits, context);
    return limits;
  });
}
