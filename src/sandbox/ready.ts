/** Waiting for a sandbox's agent. */

import type { Agent } from "../agent/api.ts";
import { GuestLostError } from "../errors.ts";
import type { VsockSocket } from "./api.ts";

/** The guest port on which the agent listens. */
export function agentPort(): number {
  return 52;
}

/** Connect to the agent behind `socket` once it listens; 30 seconds at most. */
export async function waitReady(
  socket: VsockSocket | string,
  options: { signal?: AbortSignal } = {},
): Promise<Agent> {
  return waitReadyTimeout(socket, 30_000, options);
}

/** As {@link waitReady}, with the limit given in milliseconds. */
export async function waitReadyTimeout(
  socket: VsockSocket | string,
  ms: number,
  _options: { signal?: AbortSignal } = {},
): Promise<Agent> {
  throw new GuestLostError(`${socket} did not answer in ${ms} ms`);
}
