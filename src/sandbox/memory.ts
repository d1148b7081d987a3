/** How much memory a guest is to make do with, while it runs. */

import { SpecError, VmmError } from "../errors/errors.ts";
import { shown } from "../errors/printable.ts";
import { MEMORY } from "../spec/machine.ts";
import { MEBIBYTES, MIB } from "../spec/units.ts";
import { uint } from "../wire/fields.ts";
import type { Message } from "../wire/framing.ts";

const PAGE = 4096;
const TIMEOUT_MS = 10_000;
/** Between questions how far the guest has come. */
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 100;

export interface SetMemoryOptions {
  /** Aborting stops the waiting, not the guest. */
  readonly signal?: AbortSignal;
  /** How long to wait for the guest, milliseconds (10,000). */
  readonly timeoutMs?: number;
}

/** Bytes, or "512M" or "2G", in whole pages. Throws `SpecError`. */
export function memorySize(size: number | string): number {
  const bytes = typeof size === "string" ? (MEBIBYTES.parse(size) ?? 0) * MIB : size;
  if (!Number.isSafeInteger(bytes) || bytes < MEMORY.least * MIB)
    throw new SpecError(
      "memory",
      `${shown(size)} is not a size of at least ${MEMORY.least} MiB: give bytes, "512M" or "2G"`,
    );
  return bytes - (bytes % PAGE);
}

/**
 * Ask for it, and wait until the guest has come so far; gives what it has then, bytes. `ask`: a request of ffi/vmm.cddl.
 * Rejects with `VmmError`: `ETIMEDOUT` when the guest does not get there in time (it goes on trying), `EBUSY` while paused.
 */
export async function setMemory(
  ask: (op: string, fields: Message) => Promise<Message>,
  bytes: number,
  { signal, timeoutMs = TIMEOUT_MS }: SetMemoryOptions,
): Promise<number> {
  signal?.throwIfAborted();
  const late = performance.now() + timeoutMs;
  let now = uint(await ask("memory", { memory: bytes }), "memory");
  for (let pause = FIRST_PAUSE_MS; now !== bytes; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    if (performance.now() >= late) {
      const has = `it has ${Math.round(now / MIB)} MiB`;
      throw new VmmError(
        "ETIMEDOUT",
        `the guest did not reach ${bytes / MIB} MiB in ${timeoutMs} ms: ${has}`,
        {
          hint: "its programs may need the memory, or the guest may be hostile; the request stays in force",
        },
      );
    }
    await Bun.sleep(pause);
    signal?.throwIfAborted();
    now = uint(await ask("memory", {}), "memory");
  }
  return now;
}
