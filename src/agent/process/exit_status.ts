/** How a program ended, as the guest tells it. */

import { signalName } from "../../host/signals.ts";
import { flag, uint } from "../../wire/fields.ts";
import type { Message } from "../../wire/framing.ts";
import { ProtocolError } from "../../wire/profile.ts";
import type { ExitStatus } from "../api.ts";

/** `ending`: it was killed because the sandbox ends. Throws as {@link exitStatus}. */
export function readEnd(told: Message): { readonly status: ExitStatus; readonly ending: boolean } {
  return { status: exitStatus(told), ending: told.ending !== undefined && flag(told, "ending") };
}

/** Throws {@link ProtocolError} unless it is one end and not two. */
export function exitStatus(told: Message): ExitStatus {
  const timedOut = flag(told, "timedOut");
  const oomKilled = told.oomKilled !== undefined && flag(told, "oomKilled");
  if ((told.exitCode === undefined) === (told.signal === undefined)) {
    throw new ProtocolError("an exec ended with neither or both of exitCode and signal");
  }
  if (told.signal !== undefined) {
    const signal = signalName(uint(told, "signal", 127));
    return { exitCode: null, signal, timedOut, oomKilled, ok: false };
  }
  const exitCode = uint(told, "exitCode", 255);
  return { exitCode, signal: null, timedOut, oomKilled, ok: exitCode === 0 && !timedOut };
}
