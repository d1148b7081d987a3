/** What the operator of `capsa mcp` lets the model have: set once, at the start, and by nobody else. */

import type { McpLimits } from "../spec/mcp.ts";
import type { SandboxSpec } from "../spec/spec.ts";

/** All that is the operator's to say. */
export interface Operator {
  readonly limits: McpLimits;
  /** What a sandbox can be; the first unless the model names another. Their memory and CPUs are the most it can have. */
  readonly kinds: readonly [SandboxSpec, ...SandboxSpec[]];
}
