/** Programs in the sandbox: `spawn` streams, `exec` collects what it streams. */

import { AgentError } from "../errors.ts";
import type { AgentProcess, Environment, ExecOptions, ExecResult, ExitStatus, SpawnOptions } from "./api.ts";
import type { Call } from "./call.ts";
import { MAX_WINDOW, PROGRAM_WINDOW } from "./call.ts";
import { Collector } from "./collector.ts";
import type { Connection } from "./connection.ts";
import { bytes, flag, oneOf, uint } from "./fields.ts";
import type { Message } from "./framing.ts";
import { pieces } from "./input.ts";
import { Outlet } from "./outlet.ts";
import { ProtocolError } from "./profile.ts";
import { signalName, signalNumber } from "./signals.ts";

const START_TIMEOUT_MS = 30_000;
/** What a guest gets beyond a program's own time limit to say that it kept it. */
const TIMEOUT_GRACE_MS = 10_000;
const MAX_OUTPUT = 64 << 20;
const SIGKILL = 9;

const EXEC_OPTIONS: ReadonlySet<string> = new Set<keyof ExecOptions>([
  ...(["env", "clearEnv", "cwd", "user", "group", "stdin", "timeoutMs", "signal"] as const),
  ...(["onStdout", "onStderr", "maxOutput"] as const),
]);

/** An environment or options: options when a key is an option's name. `TypeError` for a mixture of both. */
export function execOptions(given: Environment | ExecOptions | undefined): ExecOptions {
  const keys = Object.keys(given ?? {});
  const options = keys.filter((key) => EXEC_OPTIONS.has(key));
  if (options.length === 0) return { env: (given ?? {}) as Environment };
  const other = keys.find((key) => !EXEC_OPTIONS.has(key));
  if (other !== undefined) {
    throw new TypeError(
      `exec's second argument has the option "${options[0]}" and "${other}", which is none; ` +
        "environment variables beside options go in { env: { … } }",
    );
  }
  return given as ExecOptions;
}

export async function exec(
  connection: Connection,
  command: string | readonly string[],
  options: ExecOptions,
): Promise<ExecResult> {
  const started = performance.now();
  const { onStdout, onStderr, maxOutput = MAX_OUTPUT, ...spawnOptions } = options;
  const child = await spawn(connection, command, spawnOptions);
  let room = maxOutput;
  const gather = async (
    stream: ReadableStream<Uint8Array>,
    each: ((chunk: Uint8Array) => void) | undefined,
  ) => {
    const collector = new Collector();
    for await (const chunk of stream) {
      if (each !== undefined) {
        each(chunk);
        continue;
      }
      room -= chunk.length;
      if (room < 0) throw tooLarge(command, maxOutput);
      collector.add(chunk);
    }
    return collector.bytes();
  };
  try {
    const [stdout, stderr] = await Promise.all([
      gather(child.stdout, onStdout),
      gather(child.stderr, onStderr),
    ]);
    const status = await child.exited;
    const decoder = new TextDecoder();
    return {
      ...status,
      stdout: decoder.decode(stdout),
      stderr: decoder.decode(stderr),
      stdoutBytes: stdout,
      stderrBytes: stderr,
      durationMs: performance.now() - started,
    };
  } catch (error) {
    child.abandon(error);
    throw error;
  }
}

export async function spawn(
  connection: Connection,
  command: string | readonly string[],
  options: SpawnOptions,
): Promise<RunningProcess> {
  const argv = typeof command === "string" ? ["/bin/sh", "-c", command] : [...command];
  checkArguments(argv, options);
  const running = Promise.withResolvers<number>();
  const { stdin, signal, timeoutMs } = options;
  const child = new RunningProcess();
  const call = connection.call({
    op: "exec",
    path: argv[0],
    request: {
      op: "exec",
      argv,
      env: options.env,
      clearEnv: options.clearEnv,
      cwd: options.cwd,
      user: options.user,
      group: options.group,
      stdin: stdin === undefined ? undefined : true,
      timeoutMs,
    },
    window: options.window ?? PROGRAM_WINDOW,
    cancel: { ev: "kill", signal: SIGKILL },
    signal,
    onEvent: (event) => {
      switch (oneOf(event, "ev", ["started", "stdout", "stderr"])) {
        case "started":
          return running.resolve(uint(event, "pid", 0x7fffffff));
        case "stdout":
          return child.output.stdout.push(bytes(event, "data"));
        case "stderr":
          return child.output.stderr.push(bytes(event, "data"));
      }
    },
  });
  child.watch(call, connection, timeoutMs);
  const silence = setTimeout(() => call.abandon(silent(argv[0]!)), START_TIMEOUT_MS);
  try {
    // A program that cannot be started is answered without "started"
    const pid = await Promise.race([running.promise, child.exited.then(() => undefined)]);
    child.pid = pid ?? connection.trust(unstarted);
  } finally {
    clearTimeout(silence);
  }
  if (stdin === "pipe") child.stdin = child.sink();
  else if (stdin !== undefined) child.feed(pieces(stdin));
  return child;
}

class RunningProcess implements AgentProcess {
  pid = 0;
  stdin: WritableStream<Uint8Array> | null = null;
  exited!: Promise<ExitStatus>;
  readonly output: { readonly stdout: Outlet; readonly stderr: Outlet };
  #call!: Call;

  constructor() {
    const taken = (count: number) => this.#call.taken(count);
    this.output = { stdout: new Outlet(taken), stderr: new Outlet(taken) };
  }

  get stdout(): ReadableStream<Uint8Array> {
    return this.output.stdout.stream;
  }

  get stderr(): ReadableStream<Uint8Array> {
    return this.output.stderr.stream;
  }

  kill(signal: string | number = SIGKILL): void {
    this.#call.event({ ev: "kill", signal: signalNumber(signal) });
  }

  /** Kill it and let the call end with `reason`. */
  abandon(reason: unknown): void {
    this.#call.abandon(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    this.output.stdout.discard();
    this.output.stderr.discard();
    await this.exited.catch(() => {});
  }

  /** Tie streams and status to the call's end. */
  watch(call: Call, connection: Connection, timeoutMs: number | undefined): void {
    this.#call = call;
    const overdue =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => call.abandon(silent("exec")), timeoutMs + TIMEOUT_GRACE_MS);
    const { stdout, stderr } = this.output;
    this.exited = call.response
      .then((response) => connection.trust(() => exitStatus(response)))
      .finally(() => clearTimeout(overdue));
    this.exited.then(
      () => {
        stdout.end();
        stderr.end();
      },
      (error) => {
        stdout.fail(error);
        stderr.fail(error);
      },
    );
  }

  /** Standard input for the caller to write to; what comes after the program's end goes nowhere. */
  sink(): WritableStream<Uint8Array> {
    return new WritableStream<Uint8Array>({
      write: async (chunk) => {
        for await (const piece of pieces(chunk)) if (!(await this.#call.data("stdin", piece))) return;
      },
      close: () => this.#call.finish("stdin-end"),
      abort: () => this.#call.finish("stdin-end"),
    });
  }

  /** Feed standard input; an input that fails kills the program and is the call's error. */
  async feed(input: AsyncGenerator<Uint8Array>): Promise<void> {
    try {
      for await (const piece of input) if (!(await this.#call.data("stdin", piece))) return;
      this.#call.finish("stdin-end");
    } catch (error) {
      this.abandon(error);
    }
  }
}

function exitStatus(response: Message): ExitStatus {
  const timedOut = flag(response, "timedOut");
  if ((response.exitCode === undefined) === (response.signal === undefined)) {
    throw new ProtocolError("an exec ended with neither or both of exitCode and signal");
  }
  if (response.signal !== undefined) {
    return { exitCode: null, signal: signalName(uint(response, "signal", 127)), timedOut, ok: false };
  }
  const exitCode = uint(response, "exitCode", 255);
  return { exitCode, signal: null, timedOut, ok: exitCode === 0 && !timedOut };
}

function unstarted(): never {
  throw new ProtocolError("an exec ended without having started");
}

function checkArguments(argv: readonly unknown[], options: SpawnOptions): void {
  if (argv.length === 0) throw new TypeError("exec needs a command: a string or a list that is not empty");
  const texts: [string, unknown][] = argv.map((argument, index) => [`argument ${index}`, argument]);
  for (const [name, value] of Object.entries(options.env ?? {})) {
    if (name === "" || name.includes("="))
      throw new TypeError(`"${name}" is no name of an environment variable`);
    texts.push([`environment variable ${name}`, value]);
  }
  if (options.cwd !== undefined) texts.push(["cwd", options.cwd]);
  for (const [what, value] of texts) {
    if (typeof value !== "string") throw new TypeError(`${what} should be a string, not ${typeof value}`);
    if (value.includes("\0")) throw new TypeError(`${what} has a NUL character in it`);
  }
  const numbers = { user: options.user, group: options.group, timeoutMs: options.timeoutMs };
  for (const [what, value] of Object.entries(numbers)) {
    if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= 0xffffffff)) {
      throw new TypeError(`${what} should be a whole number from 0 on, not ${JSON.stringify(value)}`);
    }
  }
  const window = options.window ?? PROGRAM_WINDOW;
  if (!(Number.isInteger(window) && window >= 4096 && window <= MAX_WINDOW)) {
    throw new TypeError(`window should be from 4096 to ${MAX_WINDOW} bytes, not ${window}`);
  }
}

function silent(path: string): AgentError {
  return new AgentError("ETIMEDOUT", `exec ${path}: the agent did not answer in time`, { op: "exec", path });
}

function tooLarge(command: string | readonly string[], limit: number): AgentError {
  const path = typeof command === "string" ? command : command[0];
  return new AgentError(
    "OUTPUT_TOO_LARGE",
    `exec ${path}: it printed more than ${limit} bytes; it was killed`,
    {
      op: "exec",
      path,
      hint: "stream it with onStdout and onStderr or agent.spawn, or raise maxOutput",
    },
  );
}
