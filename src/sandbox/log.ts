/** The kept event stream of a sandbox, read back: output of its main process, and how that ended. */

import { join } from "node:path";
import { EVENTS_LOG, LOG_LIMIT } from "../host/directories.ts";
import { readPlainFile } from "../host/files.ts";
import { ProtocolError } from "../wire/framing.ts";
import type { LogEntry, SandboxExit } from "./api.ts";
import { type BootMoments, GuestEvents } from "./guest_events.ts";

interface EventLog {
  readonly output: LogEntry[];
  /** Set once the agent listened. */
  readonly moments: BootMoments | undefined;
  /** Set once the main process ended, its time was over, or the boot failed. */
  readonly exit: SandboxExit | undefined;
  /** What comes after what was read. */
  readonly rest: GuestEvents;
}

/**
 * The log of events in `directory`, at most `limit` bytes of it. A log that is missing is empty; one that ends within a frame,
 * or that a hostile guest filled with something else, is as good as its beginning.
 */
export function readEventLog(directory: string, limit = LOG_LIMIT): EventLog {
  const output: LogEntry[] = [];
  let moments: BootMoments | undefined;
  let exit: SandboxExit | undefined;
  let expired: "ttl" | "idle" | undefined;
  const rest = new GuestEvents();
  const data = readPlainFile(join(directory, EVENTS_LOG), Math.min(limit, LOG_LIMIT));
  try {
    for (const event of rest.push(data)) {
      if (event.ev === "ready") moments = event.moments;
      if (event.ev === "main-stdout") output.push({ stream: "stdout", data: event.data });
      if (event.ev === "main-stderr") output.push({ stream: "stderr", data: event.data });
      if (event.ev === "main-exit") {
        exit ??= { reason: expired ?? "main", exitCode: event.exitCode, signal: event.signal };
      }
      if (event.ev === "expired") expired ??= event.why;
      if (event.ev === "boot-failed") {
        const { code, message } = event;
        exit = { reason: "failed", exitCode: null, signal: null, failure: { code, message } };
      }
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
  if (expired !== undefined) exit ??= { reason: expired, exitCode: null, signal: null };
  return { output, moments, exit, rest };
}
