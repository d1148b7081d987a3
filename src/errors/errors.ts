/** The errors capsa throws: each has a stable `code`, says what failed and why, and where it can, what to do. */

import type { ErrorCode } from "./error_codes.ts";
import { printable, printableLine } from "./printable.ts";

/** Of a message, characters. */
const LONGEST = 16_384;

/**
 * The root of the tree: `catch (error) { if (error instanceof CapsaError) … }`. A message and a hint may be shown as they
 * are: what a guest has chosen of them is escaped.
 */
export class CapsaError extends Error {
  override readonly name: string = "CapsaError";
  /** Stable name of what went wrong, for programs: `"SPEC_INVALID"`, `"BOOT_FAILED"`, `"ENOENT"`, … */
  readonly code: ErrorCode;
  /** What to do about it, where that is known. */
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super(printable(cut(message)), options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code as ErrorCode; // a guest of another version may have others
    this.hint = options.hint === undefined ? undefined : printable(cut(options.hint));
  }
}

/**
 * A call was given what it does not take (`ARGUMENTS`): a path that is not absolute, a number out of range, a request that is
 * too large. Where something of the caller's threw meanwhile, a getter or a callback, `cause` is that.
 */
export class ArgumentError extends CapsaError {
  override readonly name = "ArgumentError";

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super("ARGUMENTS", message, options);
  }
}

/**
 * What was asked for cannot be: a share whose host path is not there, a relative guest path, a name in use.
 * Codes: `SPEC_INVALID`, `NAME_IN_USE`, `NOT_SUPPORTED` (not yet in this version), `GUEST_LINK` (a path of this machine leads
 * through a link that a guest may have made).
 */
export class SpecError extends CapsaError {
  override readonly name = "SpecError";
  /** Where in the specification: `"shares[1].host"`, `"cpus"`, … */
  readonly field: string;
  /** The same by keys, from the outermost on: `["shares", 1, "host"]`. */
  readonly path: readonly (string | number)[];
  /** The message without the field. */
  readonly why: string;

  constructor(
    field: string | readonly (string | number)[],
    why: string,
    options: {
      code?: "SPEC_INVALID" | "NAME_IN_USE" | "NOT_SUPPORTED" | "GUEST_LINK";
      hint?: string | undefined;
      cause?: unknown;
    } = {},
  ) {
    const path = typeof field === "string" ? [field] : field;
    const written = path.map((key, at) =>
      typeof key === "number" ? `[${key}]` : `${at > 0 ? "." : ""}${key}`,
    );
    super(options.code ?? "SPEC_INVALID", `${written.join("")}: ${why}`, options);
    this.field = written.join("");
    this.path = path;
    this.why = why;
  }
}

/**
 * This machine, or this installation, lacks something. Codes: `LIBRARY_MISSING`, `ABI_MISMATCH`, `VMM_MISSING`,
 * `KERNEL_MISSING`, `GUEST_MISSING`, `QEMU_MISSING`, `KVM_UNUSABLE`, `RUNTIME_DIR`, `ROOTFS_UNSUPPORTED`, `SECRETS_PROXY`;
 * of a forward `PORT_IN_USE`, or the errno name of what could not be listened on or reached.
 */
export class HostError extends CapsaError {
  override readonly name = "HostError";
}

/**
 * A sandbox did not come up. `BOOT_FAILED`: it ended before it was ready; `BOOT_TIMEOUT`: it was not ready in time;
 * other codes are the guest's or the VMM's own (`ENOENT`, `ENGINE_FAILED`, …).
 */
export class BootError extends CapsaError {
  override readonly name = "BootError";
  /** The last lines of the guest's console, "" when it said nothing. */
  readonly consoleTail: string;

  constructor(
    code: string,
    message: string,
    options: { consoleTail?: string; hint?: string | undefined; cause?: unknown } = {},
  ) {
    const tail = options.consoleTail?.trimEnd() ?? "";
    super(code, withTail(message, tail), options);
    this.consoleTail = tail;
  }
}

/**
 * A raw VM's console did not show what was waited for. `CONSOLE_TIMEOUT`: not in time; `VM_ENDED`: the VM ended before;
 * `LOGIN_FAILED`: the guest did not let us in; `OUTPUT_TOO_LARGE`: a command printed more than is kept.
 */
export class ConsoleError extends CapsaError {
  override readonly name = "ConsoleError";
  /** The last lines of the console, "" when it said nothing. */
  readonly consoleTail: string;

  constructor(code: string, message: string, consoleTail: string, options: { hint?: string } = {}) {
    const tail = consoleTail.trimEnd();
    super(code, withTail(message, tail), options);
    this.consoleTail = tail;
  }
}

/**
 * The VMM refused a request, or is gone: code an errno name, an engine's code, or `VMM_GONE`; `NOT_A_SOCKET`: something
 * else is where its socket was; of a raw VM `NOT_STARTED` or `ALREADY_STARTED`.
 */
export class VmmError extends CapsaError {
  override readonly name = "VmmError";
}

/** No running sandbox has that name or id (`SANDBOX_NOT_FOUND`). */
export class SandboxNotFoundError extends CapsaError {
  override readonly name = "SandboxNotFoundError";

  constructor(nameOrId: string, running: readonly string[]) {
    super("SANDBOX_NOT_FOUND", `no sandbox "${nameOrId}" is running`, {
      hint:
        running.length === 0
          ? "no sandbox is running; start one with `capsa up -d`"
          : `running: ${running.join(", ")}`,
    });
  }
}

/**
 * The agent refused or failed a call. `code` is an errno name (`"ENOENT"`), `"ETIMEDOUT"` when it did not answer in
 * time, or `"OUTPUT_TOO_LARGE"` when an exec's collected output passed `maxOutput`.
 */
export class AgentError extends CapsaError {
  override readonly name = "AgentError";
  /** The call: `"exec"`, `"readFile"`, … */
  readonly op: string;
  /** The guest path or program it was about, where there is one. */
  readonly path: string | undefined;

  constructor(
    code: string,
    message: string,
    options: { op: string; path?: string | undefined; hint?: string; cause?: unknown },
  ) {
    super(code, printableLine(message), options);
    this.op = options.op;
    this.path = options.path;
  }
}

/**
 * A file of this machine that cannot be read or written, as `upload` and `download` do: `code` is an errno name
 * (`"ENOENT"`, `"EACCES"`, `"ENOSPC"`, …), `"GUEST_LINK"` where a link is on the way that a guest may have made, or
 * `"SHARE_REPLACED"` of a transactional share.
 */
export class HostFileError extends CapsaError {
  override readonly name = "HostFileError";
  readonly path: string;

  constructor(code: string, path: string, why: string, options: { hint?: string; cause?: unknown } = {}) {
    super(code, printableLine(`${path} on this machine: ${why}`), options);
    this.path = path;
  }
}

/** The connection to the agent ended, and every call on it with this one error. */
export class GuestLostError extends CapsaError {
  override readonly name: string = "GuestLostError";

  /** `why`: `"it sent a frame of 4294967295 bytes"`, … */
  constructor(why: string, options: { cause?: unknown; code?: "GUEST_LOST" | "SANDBOX_ENDED" } = {}) {
    const { code = "GUEST_LOST" } = options;
    super(code, code === "GUEST_LOST" ? `lost the sandbox's agent: ${why}` : why, options);
  }
}

/** The sandbox has ended, and the call with it (`SANDBOX_ENDED`). */
export class SandboxEndedError extends GuestLostError {
  override readonly name = "SandboxEndedError";
  /** `"ttl"`, `"main"`, `"stopped"`, … as `vm.exited` has it; undefined while it is ending, or if nobody here follows it. */
  readonly reason: string | undefined;

  constructor(reason: string | undefined, failure?: string) {
    const why = [reason, failure].filter((part) => part !== undefined).join(": ");
    super(why === "" ? "the sandbox is ending" : `the sandbox ended (${why})`, { code: "SANDBOX_ENDED" });
    this.reason = reason;
  }
}

/** Of what a caller gave there may be megabytes in it. */
function cut(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

function withTail(message: string, tail: string): string {
  if (tail === "") return message;
  const lines = tail.split("\n").map((line) => `  ${line.trimEnd()}`); // a serial port's end in "\r"
  return [message, "last lines of the console:", ...lines].join("\n");
}

/** Something worth a line to the user, told once: capsa itself never prints. */
export interface Notice {
  /** Stable name: `"ENGINE_QEMU"`, `"CONFINE_PARTIAL"`, `"WATCH_LIMIT"`, … */
  readonly code: string;
  readonly message: string;
}
