/** What a sandbox uses: as its VMM counts, as this machine accounts, and as its guest says. */

import { connectAgent } from "../agent/client.ts";
import { CapsaError } from "../errors/errors.ts";
import { processUsage } from "../host/process.ts";
import { map, oneOf, uint } from "../wire/fields.ts";
import type { Message } from "../wire/framing.ts";
import type { SandboxMetrics } from "./api.ts";

/** For a guest to answer; one that is busy or hostile is left out. */
const GUEST_MS = 2000;

/** `status`: the VMM's, with `current`, the guest's memory, where it can be asked. `pid`: its process. `agent`: the Unix socket of the agent's port. */
export async function metricsOf(status: Message, pid: number, agent: string): Promise<SandboxMetrics> {
  const state = oneOf(status, "state", ["starting", "running", "paused", "ending"]);
  const traffic = map(status.traffic, "traffic");
  const shares = carried(traffic.fs);
  const network = traffic.net === undefined ? undefined : carried(traffic.net);
  const { cpuMs, residentBytes } = processUsage(pid);
  const guest = state === "running" ? await guestMemory(agent) : undefined;
  return {
    state,
    uptimeMs: uint(status, "uptimeNs") / 1e6,
    cpuMs,
    memory: {
      sizeBytes: uint(status, "memory"),
      ...(status.current !== undefined && { currentBytes: uint(status, "current") }),
      residentBytes,
      ...guest,
    },
    shares: { readBytes: shares.toGuest, writtenBytes: shares.fromGuest, requests: shares.requests },
    ...(network && { network: { receivedBytes: network.toGuest, sentBytes: network.fromGuest } }),
  };
}

function carried(value: unknown): { fromGuest: number; toGuest: number; requests: number } {
  if (value === undefined) return { fromGuest: 0, toGuest: 0, requests: 0 };
  const counts = map(value, "traffic");
  const requests = counts.requests === undefined ? 0 : uint(counts, "requests");
  return { fromGuest: uint(counts, "fromGuest"), toGuest: uint(counts, "toGuest"), requests };
}

async function guestMemory(
  path: string,
): Promise<{ readonly guestTotalBytes: number; readonly guestAvailableBytes: number } | undefined> {
  try {
    await using agent = await connectAgent(path, { timeoutMs: GUEST_MS });
    const { memoryTotal, memoryFree } = await agent.info({ timeoutMs: GUEST_MS });
    return { guestTotalBytes: memoryTotal, guestAvailableBytes: memoryFree };
  } catch (error) {
    if (error instanceof CapsaError || typeof (error as NodeJS.ErrnoException).code === "string")
      return undefined;
    throw error;
  }
}
