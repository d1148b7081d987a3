/** The guest's event stream (guest/protocol.cddl), from bytes to events that have been checked. */

import { signalName } from "../host/signals.ts";
import { bytes, failure, finite, flag, map, oneOf, uint, words } from "../wire/fields.ts";
import { FrameDecoder, type Message, ProtocolError } from "../wire/framing.ts";

/** Nanoseconds of the guest's clock since its start. */
export interface BootMoments {
  readonly kernel: number;
  readonly init: number;
  readonly mounts: number;
  readonly agent: number;
}

export type GuestEvent =
  | { readonly ev: "ready"; readonly moments: BootMoments }
  | { readonly ev: "main-started"; readonly pid: number }
  | { readonly ev: "main-stdout" | "main-stderr"; readonly data: Uint8Array }
  | { readonly ev: "main-exit"; readonly exitCode: number | null; readonly signal: string | null }
  | { readonly ev: "oom"; readonly pid: number; readonly program: string; readonly limited: boolean }
  | { readonly ev: "expired"; readonly why: "ttl" | "idle" }
  | { readonly ev: "boot-failed"; readonly code: string; readonly message: string };

const EVENTS = [
  "ready",
  "main-started",
  "main-stdout",
  "main-stderr",
  "main-exit",
  "oom",
  "expired",
  "boot-failed",
] as const;

export class GuestEvents {
  readonly #decoder = new FrameDecoder();

  /** The events that these bytes complete. Throws {@link ProtocolError}, after which nothing more can be made of it. */
  *push(data: Uint8Array): Generator<GuestEvent> {
    for (const [message] of this.#decoder.push(data)) yield readGuestEvent(message);
  }
}

/** Throws {@link ProtocolError}. */
export function readGuestEvent(message: Message): GuestEvent {
  const ev = oneOf(message, "ev", EVENTS);
  switch (ev) {
    case "ready": {
      const t = map(message.t, "t");
      const [kernel, init, mounts, agent] = ["kernel", "init", "mounts", "agent"].map((key) =>
        finite(t, key),
      );
      return { ev, moments: { kernel: kernel!, init: init!, mounts: mounts!, agent: agent! } };
    }
    case "main-started":
      return { ev, pid: uint(message, "pid", 0x7fffffff) };
    case "main-stdout":
    case "main-stderr":
      return { ev, data: bytes(message, "data") };
    case "main-exit": {
      if ((message.exitCode === undefined) === (message.signal === undefined)) {
        throw new ProtocolError("main-exit has neither or both of exitCode and signal");
      }
      return message.signal === undefined
        ? { ev, exitCode: uint(message, "exitCode", 255), signal: null }
        : { ev, exitCode: null, signal: signalName(uint(message, "signal", 127)) };
    }
    case "oom":
      return {
        ev,
        pid: uint(message, "pid", 0x7fffffff),
        program: words(message, "program", 64),
        limited: flag(message, "limited"),
      };
    case "expired":
      return { ev, why: oneOf(message, "why", ["ttl", "idle"]) };
    case "boot-failed":
      return { ev, ...failure(message) };
  }
}
