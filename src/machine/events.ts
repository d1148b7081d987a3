/** What a VMM tells of its machine (ffi/vmm.cddl): events, and what a status says of shares. */

import { readPorts } from "../network/ports.ts";
import type { NetworkAccess, NetworkRefusal, PublishedPort } from "../network/spec.ts";
import { bytes, failure, flag, list, map, oneOf, text, uint, words } from "../wire/fields.ts";
import type { Message } from "../wire/framing.ts";

/** Why a machine ended; `expired`: the time it was given was over, and its guest had not ended by itself. */
export type EndReason = "shutdown" | "stopped" | "expired" | "failed";

/** `root-use`: what a guest has done with a root of its file system devices. */
export interface RootUse {
  readonly root: string;
  readonly used: boolean;
  readonly written: boolean;
  /** Names, as the guest made them. */
  readonly entries: readonly Uint8Array[];
  readonly more: boolean;
}

/** What a VMM tells unasked. */
export type VmmEvent =
  | { readonly event: "started"; readonly engine: string; readonly ports: readonly PublishedPort[] }
  | { readonly event: "paused" | "resumed" }
  | { readonly event: "network"; readonly refusal: NetworkRefusal }
  | { readonly event: "notice"; readonly code: string; readonly message: string }
  | { readonly event: "access"; readonly access: NetworkAccess }
  | { readonly event: "guest" | "console"; readonly data: Uint8Array }
  | { readonly event: "failed"; readonly code: string; readonly message: string }
  | { readonly event: "exited"; readonly reason: EndReason; readonly use?: readonly RootUse[] };

/** Throws `ProtocolError`. */
export function readEvent(message: Message): VmmEvent {
  const event = oneOf(message, "event", [
    "started",
    "paused",
    "resumed",
    "guest",
    "console",
    "network",
    "notice",
    "failed",
    "exited",
  ]);
  switch (event) {
    case "started":
      return { event, engine: words(message, "engine", 64), ports: readPorts(message) };
    case "paused":
    case "resumed":
      return { event };
    case "guest":
    case "console":
      return { event, data: bytes(message, "data") };
    case "network":
      return message.passed === true
        ? { event: "access", access: readAccess(message) }
        : { event, refusal: readRefusal(message) };
    case "notice":
    case "failed":
      return { event, ...failure(message) };
    case "exited":
      return {
        event,
        reason: oneOf(message, "reason", ["shutdown", "stopped", "expired", "failed"]),
        ...(message.use !== undefined && { use: readUse(message) }),
      };
  }
}

/** `use` of the result of "status" and of "exited". */
export function readUse(message: Message): RootUse[] {
  return list(message, "use").map((item) => {
    const use = map(item, "use");
    return {
      root: text(use, "root", 255),
      used: flag(use, "used"),
      written: flag(use, "written"),
      entries: list(use, "entries").map((entry) => bytes({ entry }, "entry")),
      more: flag(use, "more"),
    };
  });
}

function readRefusal(message: Message): NetworkRefusal {
  return {
    protocol: oneOf(message, "protocol", ["tcp", "udp", "icmp", "dns", "frame"]),
    ...readWhere(message),
    why: words(message, "why", 512),
    ...(message.failed === true ? { failed: true as const } : {}),
    ...optional(message, "allow"),
  };
}

function readAccess(message: Message): NetworkAccess {
  return {
    protocol: oneOf(message, "protocol", ["tcp", "udp", "icmp", "dns"]),
    ...readWhere(message),
    inside: message.inside === true,
    allow: words(message, "allow", 512),
  };
}

function readWhere(message: Message): Pick<NetworkRefusal, "address" | "port" | "name"> {
  return {
    ...optional(message, "address"),
    ...(message.port === undefined ? {} : { port: uint(message, "port", 65535) }),
    ...optional(message, "name"),
  };
}

function optional(message: Message, key: "address" | "name" | "allow") {
  return message[key] === undefined ? {} : { [key]: words(message, key, 512) };
}
