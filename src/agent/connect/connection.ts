/** One connection to an agent: numbered calls over one socket, all of them ended by one error when it goes. */

import { posix } from "node:path";
import { checkSignal, checkTime } from "../../errors/check.ts";
import { GuestLostError, SandboxEndedError } from "../../errors/errors.ts";
import { orAfter } from "../../host/or_after.ts";
import { type Attributes, type Recording, record } from "../../host/telemetry.ts";
import { Call, type CallSetup } from "../../wire/call.ts";
import { Exchange } from "../../wire/exchange.ts";
import { failure, uint, words } from "../../wire/fields.ts";
import { encodeFrame, type Message, ProtocolError } from "../../wire/framing.ts";

const PROTOCOL_VERSION = 1;
/** For a sandbox that ends to have ended: its main process has its grace, its guest writes and powers off. */
const END_MS = 10_000;
/** For one whose connection has broken: where it has ended as well, that is told at about the same time. */
const BROKEN_MS = 1000;

/** How a sandbox has ended, for those whose calls end with it; `detached`: nobody here knows. */
interface SandboxEnd {
  readonly reason: string;
  readonly failure?: { readonly message: string };
}

export interface ConnectOptions {
  /** Id of the sandbox, for traces. */
  readonly sandbox?: string | undefined;
  /** Settles when the sandbox has ended, where somebody here follows it. */
  readonly ended?: Promise<SandboxEnd> | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Limit for the agent's greeting, milliseconds. */
  readonly timeoutMs: number;
}

export class Connection {
  /** Name and version of the agent. */
  version = "";
  #exchange!: Exchange<Call>;
  #sandbox: string | undefined;
  #ended: Promise<SandboxEnd> | undefined;

  /**
   * Connect to the Unix socket of the agent's port and greet it. Rejects with the system's error when there is no such
   * socket, with {@link GuestLostError} when nobody listens behind it, with `AgentError` when it does not answer.
   */
  static async open(path: string, options: ConnectOptions): Promise<Connection> {
    const self = new Connection();
    self.#sandbox = options.sandbox;
    self.#exchange = await Exchange.open({ unix: path }, { callOf, onClose: (cause) => self.#reason(cause) });
    try {
      const hello = self.call({
        op: "hello",
        request: { op: "hello", version: PROTOCOL_VERSION },
        signal: options.signal,
        timeoutMs: options.timeoutMs,
      });
      const response = await hello.response;
      const version = uint(response, "version");
      if (version !== PROTOCOL_VERSION)
        throw new ProtocolError(`it speaks version ${version} of the protocol`);
      self.version = words(response, "agent", 256);
      self.#ended = options.ended;
      return self;
    } catch (error) {
      self.close();
      throw error instanceof ProtocolError ? new GuestLostError(error.message, { cause: error }) : error;
    }
  }

  get isOpen(): boolean {
    return this.#exchange.isOpen;
  }

  /** Open a call. Throws what ended the connection, or the signal's reason when it is aborted already. */
  call(setup: CallSetup): Call {
    checkSignal(setup.signal);
    checkTime("timeoutMs", setup.timeoutMs);
    setup.signal?.throwIfAborted();
    return this.#exchange.begin((id, send) => {
      const request = encodeFrame({ id, ...setup.request, window: setup.window });
      const recording = recordCall(setup, this.#sandbox);
      const call = new Call(id, recording ? watched(setup, recording) : setup, send);
      call.start(request);
      if (recording !== undefined) recordEnd(recording, call);
      return call;
    });
  }

  /** A call that is one request and one response. `read` may throw {@link ProtocolError}. */
  async ask<T>(setup: CallSetup, read: (response: Message) => T): Promise<T> {
    const response = await this.call(setup).response;
    return this.trust(() => read(response));
  }

  /** Run a reader of the guest's fields; an agent that breaks the protocol loses the connection. */
  trust<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      throw this.#exchange.end(new GuestLostError(error.message, { cause: error }));
    }
  }

  /** Why a call ended that the guest says ended because the sandbox does. */
  async ending(): Promise<SandboxEndedError> {
    return (await this.#end(END_MS)) ?? new SandboxEndedError(undefined);
  }

  /** Why the socket has closed; the calls that are open wait for that. */
  async #reason(cause: Error | undefined): Promise<Error> {
    const end = cause instanceof ProtocolError ? undefined : await this.#end(BROKEN_MS);
    return end ?? new GuestLostError(reason(cause), cause === undefined ? {} : { cause });
  }

  async #end(patienceMs: number): Promise<SandboxEndedError | undefined> {
    const end = this.#ended && (await orAfter(this.#ended, patienceMs));
    if (end === undefined || end.reason === "detached") return undefined;
    return new SandboxEndedError(end.reason, end.failure?.message);
  }

  close(): void {
    this.#exchange.end(new GuestLostError("the connection was closed"));
  }
}

function callOf(frame: Message): number {
  const id = uint(frame, "id");
  if (id === 0 && frame.ok === false)
    throw new ProtocolError(`it refused a frame: ${failure(frame.error).message}`);
  return id;
}

function watched(setup: CallSetup, recording: Recording): CallSetup {
  const { onEvent } = setup;
  if (onEvent === undefined) return setup;
  return {
    ...setup,
    onEvent: (event, length) => {
      recordEvent(recording, event);
      onEvent(event, length);
    },
  };
}

function reason(error: Error | undefined): string {
  if (error === undefined) return "it closed the connection";
  return error instanceof ProtocolError ? error.message : `the connection broke (${error.message})`;
}

/**
 * Begin the span of a call, if it is to have one: those of programs and of paths. `sandbox`: the id, where it is known. A
 * watch goes on as long as its reader likes, which is no work of the guest's.
 */
function recordCall({ op, path, request }: CallSetup, sandbox: string | undefined): Recording | undefined {
  const common: Attributes = sandbox === undefined ? {} : { "capsa.sandbox.id": sandbox };
  if (op === "exec") {
    // Arguments and environment are nobody's business: they may hold secrets
    const name = posix.basename(path ?? "");
    return record(name, () => ({ ...common, "process.executable.name": name }), { remote: true });
  }
  if (typeof request.path !== "string" || op === "watch") return undefined;
  const attributes = () => ({
    ...common,
    "capsa.op": request.op,
    ...(path !== undefined && { "file.path": path }),
  });
  return record(op, attributes, { remote: true });
}

/** A program has started. */
function recordEvent(recording: Recording, { ev, pid }: Message): void {
  if (ev === "started" && typeof pid === "number") recording.set({ "process.pid": pid });
}

/** The span ends as the call does. */
function recordEnd(recording: Recording, { response }: Call): void {
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
