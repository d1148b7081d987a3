/** What the operator of `capsa mcp` lets the model have: set once, at the start, and by nobody else. */

import { SpecError } from "../errors/errors.ts";
import { readable, whole } from "../sandbox/validate.ts";
import type { SandboxSpec } from "../spec/spec.ts";

const LONGEST_EXEC_MS = 24 * 3_600_000;

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

/** All that is the operator's to say. */
export interface Operator {
  readonly limits: McpLimits;
  /** What a sandbox can be; the first unless the model names another. Their memory and CPUs are the most it can have. */
  readonly kinds: readonly [SandboxSpec, ...SandboxSpec[]];
}

export const DEFAULT_LIMITS: McpLimits = {
  maxSandboxes: 4,
  execTimeoutMs: 120_000,
  maxOutput: 65_536,
  maxDownload: 2 ** 30,
};

/** Throws `SpecError`, whose field is the key in `[mcp]`, for the first thing that cannot be. */
export function validateLimits(limits: McpLimits): void {
  const { maxSandboxes, execTimeoutMs, maxOutput, downloads, maxDownload } = limits;
  whole("maxSandboxes", maxSandboxes, 1, 1000);
  if (execTimeoutMs < 1 || execTimeoutMs > LONGEST_EXEC_MS)
    throw new SpecError("execTimeout", "a command may take from 1ms to 24h");
  whole("maxOutput", maxOutput, 1, 2 ** 30);
  whole("maxDownload", maxDownload, 1, Number.MAX_SAFE_INTEGER);
  if (downloads !== undefined) readable("downloads", downloads, "dir", { access: "write" });
}
