/** The `[mcp]` table into limits. */

import { resolve } from "node:path";
import { Value } from "@sinclair/typebox/value";
import { unexpanded } from "../host/written.ts";
import { DEFAULT_LIMITS, type McpLimits } from "../mcp/limits.ts";
import type { Reporter } from "../spec/forms.ts";
import { parseDuration, parseSize } from "../spec/units.ts";
import { McpSchema } from "./schema.ts";

/** `given`: what is in the file; where it has not the right shape, that has been reported already. */
export function resolveMcp(given: unknown, base: string, report: Reporter): McpLimits {
  if (!Value.Check(McpSchema, given)) return DEFAULT_LIMITS;
  const { maxSandboxes, execTimeout, maxOutput, downloads, maxDownload } = given;
  const wrong = unexpanded(downloads ?? "");
  if (wrong !== undefined) report(["mcp", "downloads"], ...wrong);
  return {
    ...DEFAULT_LIMITS,
    ...(maxSandboxes !== undefined && { maxSandboxes }),
    ...(execTimeout !== undefined && { execTimeoutMs: parseDuration(execTimeout) ?? 0 }),
    ...(maxOutput !== undefined && { maxOutput: parseSize(maxOutput) ?? 0 }),
    ...(downloads !== undefined && { downloads: resolve(base, downloads) }),
    ...(maxDownload !== undefined && { maxDownload: parseSize(maxDownload) ?? 0 }),
  };
}
