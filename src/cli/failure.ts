/** What a failed command says and which exit code it has. */

import { CommanderError } from "commander";
import { ConfigError } from "../config/problem.ts";
import { ArgumentError, BootError, CapsaError, SpecError } from "../errors/errors.ts";
import { shellStatus } from "../host/signals.ts";

/** Exit codes that mean the same for every verb; an exec passes on those of the guest. */
export const exitCodes = {
  /** A step failed, or what was asked is not so. */
  failed: 1,
  /** The command line or the file is wrong. */
  usage: 2,
  /** As timeout(1). */
  timedOut: 124,
  /** capsa could not do it. */
  capsa: 125,
  /** As a shell: the program cannot be executed, or is not there. */
  notExecutable: 126,
  notFound: 127,
} as const;

/** The command line is not one that the verb understands. */
export class UsageError extends CapsaError {
  override readonly name = "UsageError";

  constructor(message: string, hint?: string) {
    super("USAGE", message, { hint });
  }
}

/** What was asked is not so, or may not be: a file that is not there, a directory that cannot be written. */
export class RefusedError extends CapsaError {
  override readonly name = "RefusedError";

  constructor(cause: CapsaError) {
    super(cause.code, cause.message, { hint: cause.hint, cause });
  }
}

interface Failure {
  readonly exitCode: number;
  /** For `--json`. */
  readonly document: { readonly error: Readonly<Record<string, unknown>> };
  /** For people, "" where nothing more is to be said. */
  readonly text: string;
}

export function describeFailure(error: unknown): Failure {
  if (error instanceof Interrupted) {
    return { exitCode: error.exitCode, document: failureOf("INTERRUPTED", error.message), text: "" };
  }
  if (error instanceof CommanderError) {
    // commander has printed it, with the usage
    const message = error.message.replace(/^error: /, "");
    return {
      exitCode: error.exitCode === 0 ? 0 : exitCodes.usage,
      document: failureOf("USAGE", message),
      text: "",
    };
  }
  if (error instanceof ConfigError) {
    const { code, message, hint, file, problems } = error;
    const summary = problems.length > 0 ? `${file} is wrong in ${problems.length} place(s)` : message;
    const document = failureOf(code, summary, { hint, file, problems });
    return { exitCode: exitCodes.usage, document, text: withHint(message, hint) };
  }
  if (error instanceof CapsaError) {
    const { code, message, hint } = error;
    const wrong = [SpecError, ArgumentError, UsageError].some((type) => error instanceof type);
    const details = { hint, ...(error instanceof BootError ? { console: error.consoleTail } : {}) };
    return {
      exitCode: wrong ? exitCodes.usage : error instanceof RefusedError ? exitCodes.failed : exitCodes.capsa,
      document: failureOf(code, message, details),
      text: withHint(`capsa: ${message}`, hint) + stackOf(error.cause),
    };
  }
  return describeUnexpected(error instanceof Error ? error : new Error(String(error)));
}

function describeUnexpected({
  code: named = "INTERNAL",
  syscall,
  message,
  stack,
}: NodeJS.ErrnoException): Failure {
  const gone = syscall === "uv_cwd"; // the system's own words are about what the runtime did
  const what = gone ? "the working directory no longer exists" : message;
  const hint = gone
    ? "change to a directory that exists"
    : "this is a fault in capsa: please report it with the output of CAPSA_DEBUG=1";
  return {
    exitCode: exitCodes.capsa,
    document: failureOf(named, what),
    text: process.env.CAPSA_DEBUG ? `capsa: ${stack}` : withHint(`capsa: ${what}`, hint),
  };
}

/** Of what a call of the API did not expect. */
function stackOf(cause: unknown): string {
  const isTold = cause === undefined || cause instanceof CapsaError || !process.env.CAPSA_DEBUG;
  return isTold ? "" : `\n${cause instanceof Error ? cause.stack : String(cause)}`;
}

function failureOf(code: string, message: string, more: Record<string, unknown> = {}): Failure["document"] {
  return { error: { code, message, ...more } };
}

function withHint(message: string, hint: string | undefined): string {
  return hint ? `${message}\n  ${hint}` : message;
}

/** The reason with which everything under way is aborted; `exitCode` is what a shell expects of it. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly signal: NodeJS.Signals;
  readonly exitCode: number;

  constructor(signal: NodeJS.Signals) {
    super(`ended by ${signal}`);
    this.signal = signal;
    this.exitCode = shellStatus({ exitCode: null, signal });
  }
}

export interface Interrupts {
  readonly signal: AbortSignal;
  /** End everything under way for that reason, unless another was first. */
  end(reason: Error): void;
}

/**
 * A signal that aborts at the first SIGINT, SIGTERM or SIGHUP, or when output is lost. A second SIGINT ends the process at
 * once: what it started ends with it.
 */
export function watchInterrupts(): Interrupts {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted && name === "SIGINT") process.exit(new Interrupted(name).exitCode);
      controller.abort(new Interrupted(name));
    });
  }
  return { signal: controller.signal, end: (reason) => controller.abort(reason) };
}
