/** The client of a VMM's control channel (ffi/vmm.cddl): requests with replies, and events. */

import { VmmError } from "../errors/errors.ts";
import { readPorts } from "../network/ports.ts";
import type { NetworkAccess, NetworkRefusal, PublishedPort } from "../network/spec.ts";
import { bytes, failure, flag, list, map, oneOf, text, uint, words } from "../wire/fields.ts";
import { encodeFrame, type Message } from "../wire/framing.ts";
import { FrameSocket } from "../wire/socket.ts";

const REQUEST_TIMEOUT_MS = 10_000;

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

export interface ControlHandler {
  onEvent(event: VmmEvent): void;
  /** The channel has ended: told once. Every open request is rejected first. */
  onClose(): void;
}

interface Waiting {
  readonly resolve: (result: Message) => void;
  readonly reject: (error: VmmError) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

export class Control {
  #socket!: FrameSocket;
  readonly #handler: ControlHandler;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #closed = false;

  private constructor(handler: ControlHandler) {
    this.#handler = handler;
  }

  /** By the descriptor that started the VMM, which is taken over, or by its control.sock. */
  static async open(target: { fd: number } | { unix: string }, handler: ControlHandler): Promise<Control> {
    const self = new Control(handler);
    self.#socket = await FrameSocket.connect(target, {
      onFrame: (message) => self.#receive(message),
      onClose: () => self.#end(),
    });
    return self;
  }

  /** Send a request; its result. Rejects with {@link VmmError}: the VMM's own code, `ETIMEDOUT`, or `VMM_GONE`. */
  request(op: string, fields: Message = {}): Promise<Message> {
    if (this.#closed) return Promise.reject(gone(op));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new VmmError("ETIMEDOUT", `the VMM did not answer "${op}" in ${REQUEST_TIMEOUT_MS} ms`));
      }, REQUEST_TIMEOUT_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.send(encodeFrame({ id, op, ...fields }));
    });
  }

  close(): void {
    this.#socket.close();
  }

  #receive(message: Message): void {
    if (message.reply === undefined) {
      this.#handler.onEvent(readEvent(message));
      return;
    }
    const id = uint(message, "reply");
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return; // it was given up
    // read first: what cannot be ends the channel, and with it whoever still waits
    const error = message.error === undefined ? undefined : failure(message.error);
    const result = message.result === undefined ? {} : map(message.result, "a result");
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    if (error === undefined) waiting.resolve(result);
    else waiting.reject(new VmmError(error.code, error.message));
  }

  #end(): void {
    this.#closed = true;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(gone("a request"));
    }
    this.#waiting.clear();
    this.#handler.onClose();
  }
}

function readEvent(message: Message): VmmEvent {
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

function gone(op: string): VmmError {
  return new VmmError("VMM_GONE", `the VMM has ended; it cannot be asked for "${op}"`);
}
