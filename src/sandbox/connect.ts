/** From the name of a sandbox straight to its agent. */

import type { Agent } from "../agent/api.ts";
import { connectAgent } from "../agent/client.ts";
import { guestSocket } from "../host/directories.ts";
import { AGENT_PORT } from "./plan.ts";
import { isEarly, READY_TIMEOUT_MS, type WaitOptions, waitReady } from "./ready.ts";
import { find } from "./registry.ts";
import { SandboxHandle } from "./running.ts";

/**
 * Connect to the agent of a running sandbox by name or id, as soon as it listens. Rejects with `SandboxNotFoundError`,
 * and as {@link waitReady} does.
 */
export async function connectByName(nameOrId: string, options: WaitOptions = {}): Promise<Agent> {
  const entry = await find(nameOrId);
  try {
    const limits = { signal: options.signal, timeoutMs: READY_TIMEOUT_MS, sandbox: entry.id };
    return await connectAgent(guestSocket(entry.runtimeDir, AGENT_PORT), limits);
  } catch (error) {
    if (!isEarly(error) || options.signal?.aborted) throw error;
  }
  // still starting, or just ending: its VMM tells which
  await using vm = await SandboxHandle.attach(entry);
  return await waitReady(vm.vsockSocket(AGENT_PORT), options);
}
