/** What a call of the agent is in a trace: programs and files, by OpenTelemetry's semantic conventions. */

import { posix } from "node:path";
import { type Attributes, type Recording, record } from "../../host/telemetry.ts";
import type { Call, CallSetup } from "../../wire/call.ts";
import type { Message } from "../../wire/framing.ts";

/** The calls on files; a program's is "exec". Others, such as a greeting or a stream, are no spans. */
const FILES: ReadonlySet<string> = new Set([
  ...["readFile", "readFileStream", "writeFile", "exists", "listDir", "stat", "mkdir", "remove", "glob"],
  ...["rename", "copy", "chmod", "chown", "symlink", "readLink", "upload", "download"],
]);

/** Begin the span of a call, if it is to have one. `sandbox`: the id, where it is known. */
export function recordCall(
  { op, path, request }: CallSetup,
  sandbox: string | undefined,
): Recording | undefined {
  const common: Attributes = sandbox === undefined ? {} : { "capsa.sandbox.id": sandbox };
  if (op === "exec") {
    // Arguments and environment are nobody's business: they may hold secrets
    const name = posix.basename(path ?? "");
    return record(name, () => ({ ...common, "process.executable.name": name }), { remote: true });
  }
  if (!FILES.has(op)) return undefined;
  const attributes = () => ({
    ...common,
    "capsa.op": request.op,
    ...(path !== undefined && { "file.path": path }),
  });
  return record(op, attributes, { remote: true });
}

/** A program has started. */
export function recordEvent(recording: Recording, { ev, pid }: Message): void {
  if (ev === "started" && typeof pid === "number") recording.set({ "process.pid": pid });
}

/** The span ends as the call does. */
export function recordEnd(recording: Recording, { response }: Call): void {
  response.then(
    ({ exitCode, signal, timedOut, oomKilled }) => {
      if (typeof signal === "number") recording.set({ "capsa.process.signal": signal });
      if (typeof exitCode === "number") recording.set({ "process.exit.code": exitCode });
      if (timedOut === true) recording.end("timeout");
      else if (oomKilled === true) recording.end("oom");
      else if (typeof signal === "number") recording.end("signal");
      else if (typeof exitCode === "number" && exitCode !== 0) recording.end("exit_code");
      else recording.end();
    },
    (error) => recording.fail(error),
  );
}
