/** The sandboxes of this user that run now, whoever started them, and the last that ended. */

import { SandboxNotFoundError } from "../errors.ts";
import type { EndedSandbox, LogEntry, RunningSandbox, SandboxEntry } from "./api.ts";

/** Those that run, oldest first; what dead VMMs left behind is removed on the way. */
export async function list(): Promise<SandboxEntry[]> {
  return [];
}

/** Detached sandboxes that ended, newest first. */
export async function ended(): Promise<EndedSandbox[]> {
  return [];
}

/** Connect to a running sandbox by name or id. */
export async function attach(nameOrId: string): Promise<RunningSandbox> {
  throw new SandboxNotFoundError(nameOrId, []);
}

/** What the main process of a running or ended sandbox has written, as far as it is kept. */
export async function readLog(nameOrId: string): Promise<LogEntry[]> {
  throw new SandboxNotFoundError(nameOrId, []);
}
