/** What became of a sandbox, in words for people. */

import type { NetworkRefusal, SandboxExit } from "./api.ts";

/** What a sandbox's network refused, for people: "refused tcp 192.0.2.1:443 (example.org): no rule allows it; …". */
export function describeRefusal({
  protocol,
  address,
  port,
  name,
  why,
  allow,
  failed,
}: NetworkRefusal): string {
  const place = address?.includes(":") && port !== undefined ? `[${address}]` : (address ?? name ?? "");
  const where = `${place}${port === undefined ? "" : `:${port}`}`;
  const led = address !== undefined && name !== undefined ? ` (${name})` : "";
  const mend = allow === undefined ? "" : `; to allow it: allow = ["${allow}"]`;
  return `${failed ? "failed" : "refused"} ${protocol} ${where}${led}: ${why}${mend}`;
}

/** How a sandbox ended, for people: "its main process exited with 3". */
export function describeExit({ reason, exitCode, signal, failure }: SandboxExit): string {
  if (reason === "main") {
    return signal ? `its main process was ended by ${signal}` : `its main process exited with ${exitCode}`;
  }
  if (reason === "ttl") return "its time to live (`ttl`) was over";
  if (reason === "idle") return "nothing had used it for its `idleTimeout`";
  if (reason === "failed") return `it broke: ${failure?.message ?? "no reason is known"}`;
  return reason === "shutdown" ? "it was shut down" : "it was stopped";
}
