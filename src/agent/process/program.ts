/** A program in the sandbox: what a caller wants run, checked, and one that runs, tied to the call of its streams and its end. */

import { checkObject, checkText, checkTime, checkWhole, LONGEST_MS } from "../../errors/check.ts";
import { guardMethods } from "../../errors/edge.ts";
import { AgentError, ArgumentError } from "../../errors/errors.ts";
import { shown } from "../../errors/printable.ts";
import { signalName, signalNumber } from "../../host/signals.ts";
import { MIB } from "../../spec/units.ts";
import { type Call, MAX_WINDOW, PROGRAM_WINDOW, SHORT_MS } from "../../wire/call.ts";
import { bytes, flag, oneOf, uint } from "../../wire/fields.ts";
import { type Message, ProtocolError } from "../../wire/framing.ts";
import { Outlet, pieces } from "../../wire/streams.ts";
import type {
  AgentProcess,
  AttachedProcess,
  DetachOptions,
  ExitStatus,
  Limits,
  OutputStream,
  SpawnOptions,
  TerminalSize,
  WaitForOptions,
} from "../api.ts";
import type { Connection } from "../connect/connection.ts";
import { Lines } from "./lines.ts";

const DEFAULT_SIZE: TerminalSize = { columns: 80, rows: 24 };
/** The least share of a processor that the guest's kernel can give, thousandths. */
const LEAST_CPU = 10;

interface ProgramRequest extends Message {
  readonly op: "exec";
  readonly argv: readonly string[];
}

/** The request of an exec. Throws `ArgumentError` on what is not one. */
export function programRequest(
  command: string | readonly string[],
  options: SpawnOptions | DetachOptions,
): { request: ProgramRequest; window: number } {
  const argv = typeof command === "string" ? ["/bin/sh", "-c", command] : words(command);
  checkTexts(argv, options);
  const { env, clearEnv, cwd, user, group, timeoutMs, limits, pty, stderr } = options;
  if (stderr !== undefined && stderr !== "stdout" && stderr !== "discard")
    throw new ArgumentError(`stderr should be "stdout" or "discard", not ${shown(stderr)}`);
  const numbers = { ...(typeof user === "string" ? {} : { user }), group };
  for (const [what, value] of Object.entries(numbers)) checkWhole(what, value, 0, 0xffffffff);
  checkWhole("timeoutMs", timeoutMs);
  checkTime("timeoutMs", timeoutMs);
  const request: ProgramRequest = {
    op: "exec",
    argv,
    env,
    clearEnv,
    cwd,
    user,
    group,
    stdin: wantsInput(options) ? true : undefined,
    stderr,
    timeoutMs,
    limits: limits === undefined ? undefined : limitsOf(limits),
    pty: pty ? terminalSize(pty === true ? DEFAULT_SIZE : pty) : undefined,
    detach: "detach" in options && options.detach ? true : undefined,
  };
  return { request, window: checkWindow("window" in options ? options.window : undefined) };
}

export function wantsInput({ stdin, pty }: SpawnOptions): boolean {
  return stdin !== undefined || Boolean(pty);
}

export function terminalSize({ columns, rows }: TerminalSize): TerminalSize {
  checkWhole("columns", columns, 1, 0xffff);
  checkWhole("rows", rows, 1, 0xffff);
  return { columns, rows };
}

/** The default where there is none. */
export function checkWindow(window = PROGRAM_WINDOW): number {
  if (!(Number.isInteger(window) && window >= 4096 && window <= MAX_WINDOW)) {
    throw new ArgumentError(`window should be from 4096 to ${MAX_WINDOW} bytes, not ${shown(window)}`);
  }
  return window;
}

function words(command: unknown): readonly unknown[] {
  if (!Array.isArray(command))
    throw new ArgumentError(`a command should be a string or a list of strings, not ${shown(command)}`);
  if (command.length === 0) throw new ArgumentError("a command must not be an empty list");
  return command;
}

function checkTexts(
  argv: readonly unknown[],
  { env, cwd, user }: SpawnOptions,
): asserts argv is readonly string[] {
  for (const [index, argument] of argv.entries()) checkText(`argument ${index}`, argument);
  checkObject("env", env);
  for (const [name, value] of Object.entries(env ?? {})) {
    if (checkText("the name of an environment variable", name) === "" || name.includes("="))
      throw new ArgumentError(`${shown(name)} cannot be the name of an environment variable`);
    checkText(`environment variable ${name}`, value);
  }
  if (cwd !== undefined) checkText("cwd", cwd);
  if (typeof user === "string") checkText("user", user);
}

function limitsOf(limits: Limits): Message {
  const { memoryMb, cpus, pids, ...others } = limits;
  // a limit that is misspelt would be no limit
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new ArgumentError(`"${unknown}" is not a limit; the limits are memoryMb, cpus and pids`);
  checkWhole("limits.memoryMb", memoryMb, 1, 2 ** 28);
  checkWhole("limits.pids", pids, 1, 2 ** 22);
  if (cpus !== undefined && !(typeof cpus === "number" && cpus > 0 && cpus <= 4096)) {
    throw new ArgumentError(`limits.cpus should be a number above 0, not ${shown(cpus)}`);
  }
  return {
    memory: memoryMb === undefined ? undefined : memoryMb * MIB,
    cpuMilli: cpus === undefined ? undefined : Math.max(LEAST_CPU, Math.round(cpus * 1000)),
    pids,
  };
}

export const SIGKILL = 9;
/** Of a stream that nobody reads, while the other one is read. */
const KEPT_UNREAD = 262_144;

export class RunningProcess implements AgentProcess {
  pid = 0;
  stdin: WritableStream<Uint8Array> | null = null;
  exited!: Promise<ExitStatus>;
  protected call!: Call;
  readonly #output: { readonly stdout: Outlet; readonly stderr: Outlet };
  #lines: Lines | undefined;
  readonly #started = Promise.withResolvers<Message>();
  /** The one limit that this side sets: see {@link expectWord}. */
  #silence: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    const taken = (count: number) => this.call.taken(count);
    const outlet = () =>
      new Outlet(
        taken,
        () => {},
        () => this.#trim(),
      );
    this.#output = { stdout: outlet(), stderr: outlet() };
  }

  get dropped(): AgentProcess["dropped"] {
    return { stdout: this.#output.stdout.dropped, stderr: this.#output.stderr.dropped };
  }

  /** What one leaves unread of the window that both share would hold the other up. */
  #trim(): void {
    const { stdout, stderr } = this.#output;
    if (stdout.isRead && !stderr.isRead) stderr.trim(KEPT_UNREAD);
    else if (stderr.isRead && !stdout.isRead) stdout.trim(KEPT_UNREAD);
  }

  waitFor(pattern: RegExp | string, options: WaitForOptions = {}): Promise<RegExpExecArray> {
    this.#lines ??= new Lines([this.stdout, this.stderr]);
    return this.#lines.waitFor(pattern, options);
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
        this.#trim();
        break;
      case "stderr":
        this.#output.stderr.push(bytes(event, "data"));
        this.#trim();
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

/** `ending`: it was killed because the sandbox ends. Throws as {@link exitStatus}. */
function readEnd(told: Message): { readonly status: ExitStatus; readonly ending: boolean } {
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
