/** A program that runs, tied to the call that has its streams and its end. */

import { LONGEST_MS } from "../../errors/check.ts";
import { guardMethods } from "../../errors/edge.ts";
import { AgentError } from "../../errors/errors.ts";
import { signalNumber } from "../../host/signals.ts";
import type { Call } from "../../wire/call.ts";
import { bytes, flag, oneOf, uint } from "../../wire/fields.ts";
import type { Message } from "../../wire/framing.ts";
import { ProtocolError } from "../../wire/profile.ts";
import { Outlet, pieces } from "../../wire/streams.ts";
import type { AgentProcess, AttachedProcess, ExitStatus, OutputStream } from "../api.ts";
import type { Connection } from "../connect/connection.ts";
import { SHORT_MS } from "../connect/silence.ts";
import { readEnd } from "./exit_status.ts";
import { terminalSize } from "./program.ts";

export const SIGKILL = 9;

export class RunningProcess implements AgentProcess {
  pid = 0;
  stdin: WritableStream<Uint8Array> | null = null;
  exited!: Promise<ExitStatus>;
  protected call!: Call;
  readonly #output: { readonly stdout: Outlet; readonly stderr: Outlet };
  readonly #started = Promise.withResolvers<Message>();
  /** The one limit that this side sets: see {@link expectWord}. */
  #silence: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    const taken = (count: number) => this.call.taken(count);
    this.#output = { stdout: new Outlet(taken), stderr: new Outlet(taken) };
  }

  get stdout(): OutputStream {
    return this.#output.stdout.stream;
  }

  get stderr(): OutputStream {
    return this.#output.stderr.stream;
  }

  wait(): Promise<ExitStatus> {
    return this.exited;
  }

  kill(signal: string | number = SIGKILL): void {
    this.call.event({ ev: "kill", signal: signalNumber(signal) });
  }

  resize(columns: number, rows: number): void {
    this.call.event({ ev: "resize", ...terminalSize({ columns, rows }) });
  }

  /** Let the call end with `reason`, and the program with it. */
  abandon(reason: unknown): void {
    this.call.abandon(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    this.#output.stdout.discard();
    this.#output.stderr.discard();
    await this.exited.catch(() => {});
  }

  /** An event of the guest. */
  readonly onEvent = (event: Message): void => {
    switch (oneOf(event, "ev", ["started", "stdout", "stderr"])) {
      case "started":
        this.#started.resolve(event);
        break;
      case "stdout":
        this.#output.stdout.push(bytes(event, "data"));
        break;
      case "stderr":
        this.#output.stderr.push(bytes(event, "data"));
    }
  };

  /** Tie streams and status to the call's end. */
  watch(call: Call, connection: Connection): void {
    this.call = call;
    call.response.catch(() => {}).finally(() => clearTimeout(this.#silence));
    this.exited = call.response.then(async (response) => {
      const { status, ending } = connection.trust(() => readEnd(response));
      if (ending) throw await connection.ending();
      return status;
    });
    this.exited.then(
      () => this.endOutput(),
      (error) => {
        this.#output.stdout.fail(error);
        this.#output.stderr.fail(error);
      },
    );
  }

  protected endOutput(): void {
    this.#output.stdout.end();
    this.#output.stderr.end();
  }

  /**
   * Resolves with the guest's word that it runs; rejects with why it does not. `name` is for errors. With `timeoutMs` the
   * agent then ends the program by itself when that is over.
   */
  async started(connection: Connection, name: string, timeoutMs?: number): Promise<Message> {
    this.#expectWord(name, 0);
    // a program that cannot be started is answered without "started"
    const event = await Promise.race([this.#started.promise, this.exited.then(() => undefined)]);
    clearTimeout(this.#silence);
    if (timeoutMs !== undefined && this.call.open) this.#expectWord(name, timeoutMs);
    return connection.trust(() => {
      if (event === undefined) throw new ProtocolError("an exec ended without having started");
      this.pid = uint(event, "pid", 0x7fffffff);
      return event;
    });
  }

  /**
   * The agent is given up when it says nothing of the program for so long after it was to. To start a program, and to end
   * one whose time is over, are short work for it, so it has as long as for any short call. That is half a minute: a
   * guest on emulated processors of a busy machine may read a program from a share for seconds, and an agent that has
   * truly gone is mostly known by its connection, which ends.
   */
  #expectWord(name: string, afterMs: number): void {
    const give = () => this.call.abandon(silent(name));
    this.#silence = setTimeout(give, Math.min(afterMs + SHORT_MS, LONGEST_MS));
  }

  /** Standard input for the caller to write to; what comes after the program's end goes nowhere. */
  openInput(): void {
    this.stdin = new WritableStream<Uint8Array>({
      write: async (chunk) => {
        for await (const piece of pieces(chunk)) if (!(await this.call.data("stdin", piece))) return;
      },
      close: () => this.call.finish("stdin-end"),
      abort: () => this.call.finish("stdin-end"),
    });
  }

  /** Feed standard input; an input that fails kills the program and is the call's error. */
  async feed(input: AsyncGenerator<Uint8Array>): Promise<void> {
    try {
      for await (const piece of input) if (!(await this.call.data("stdin", piece))) return;
      this.call.finish("stdin-end");
    } catch (error) {
      this.abandon(error);
    }
  }
}

guardMethods(RunningProcess.prototype);

/** One in the background: it goes on when it is let go. */
export class AttachedRunning extends RunningProcess implements AttachedProcess {
  readonly id: number;
  terminal = false;

  constructor(id: number) {
    super();
    this.id = id;
  }

  detach(): void {
    this.endOutput();
    const path = String(this.id);
    this.abandon(new AgentError("ECANCELED", `attach ${path}: detached`, { op: "attach", path }));
  }

  override async started(connection: Connection, name: string): Promise<Message> {
    const event = await super.started(connection, name);
    connection.trust(() => {
      this.terminal = flag(event, "pty");
      if (flag(event, "stdin")) this.openInput();
    });
    return event;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.detach();
  }
}

guardMethods(AttachedRunning.prototype);

function silent(path: string): AgentError {
  return new AgentError("ETIMEDOUT", `exec ${path}: the agent did not answer in time`, { op: "exec", path });
}
