/** What a sandbox's agent can do, as its callers see it. */

import type { Input, OutputStream } from "../wire/streams.ts";
import type { AgentFiles, CallOptions } from "./files_api.ts";

export type { Input, OutputStream } from "../wire/streams.ts";
export type * from "./files_api.ts";

/** Environment variables by name, in capitals. Put others in `{ env: { … } }`: here they could be misspelt options. */
export type Environment = Readonly<Record<Uppercase<string>, string>> & {
  readonly [K in keyof ExecOptions]?: never;
};

/** Limits of one program, below those of its sandbox. */
export interface Limits {
  /** Memory, MiB. A program that wants more is killed with all its children, and its result has `oomKilled`. */
  readonly memoryMb?: number;
  /** Processor time: 0.5 is half a processor; at least 0.01. */
  readonly cpus?: number;
  /** Most processes and threads; starting another one fails (EAGAIN). */
  readonly pids?: number;
}

/** Size of a terminal in characters, each from 1 to 65535. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

interface ProcessOptions {
  /** Sends stderr into stdout, or nowhere, instead of into its own stream. */
  readonly stderr?: "stdout" | "discard";
  /** Added to the sandbox's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Do not use the sandbox's environment. */
  readonly clearEnv?: boolean;
  /** Working directory, absolute; the sandbox's root without. */
  readonly cwd?: string;
  /**
   * User that it runs as (root). A name, `"name:group"` or `"1000:1000"` is looked up in the sandbox's /etc/passwd and
   * /etc/group, which also give its other groups, HOME and USER. A number is used as it is, without other groups.
   */
  readonly user?: number | string;
  /** Numeric group id, instead of all groups that `user` gives. */
  readonly group?: number;
  /** Limits of the program and all its children together. With limits, its leftover children end with it. */
  readonly limits?: Limits;
  /** Kill the process group after this many milliseconds; the result then has `timedOut` (no limit). */
  readonly timeoutMs?: number;
  /** Aborting kills the process group and ends the call with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface ExecOptions extends ProcessOptions {
  /** Standard input; empty without. */
  readonly stdin?: Input;
  /**
   * Called with each piece of output as it comes. If it returns a promise, the program waits for it. That output is not
   * collected. If it throws, the program is killed and the call rejects with that error.
   */
  readonly onStdout?: (chunk: Uint8Array) => void;
  readonly onStderr?: (chunk: Uint8Array) => void;
  /**
   * Most bytes of stdout plus stderr, collected or passed on. The default for collected output is 67,108,864; passed-on
   * output has no limit.
   */
  readonly maxOutput?: number;
  /**
   * What happens beyond `maxOutput`. `"truncate"`: the program goes on, and further output is dropped. `"kill"`: the
   * program is killed. Both results have `truncated` and the output so far. Without it the program is killed, and the call
   * rejects with OUTPUT_TOO_LARGE.
   */
  readonly onLimit?: "truncate" | "kill";
}

export interface SpawnOptions extends ProcessOptions {
  /** `"pipe"` gives you `stdin` to write to; other input is written for you. The default with a terminal is `"pipe"`. */
  readonly stdin?: Input | "pipe";
  /**
   * Give it a terminal of 80 by 24 or another size as stdin, stdout and stderr. All output then comes from `stdout`, with
   * `\r\n` line ends. TERM is `"xterm"` unless `env` sets it.
   */
  readonly pty?: boolean | TerminalSize;
  /** Bytes that the guest may send ahead of the reader, for stdout and stderr together (1,048,576; at most 4,194,304). */
  readonly window?: number;
}

/** Options of a process that outlives this connection, see {@link Agent.spawn}. */
export interface DetachOptions extends Omit<SpawnOptions, "stdin" | "window"> {
  readonly detach: true;
  /** `"pipe"` lets those who attach write to it; otherwise it reads end of file. */
  readonly stdin?: "pipe";
}

export interface AttachOptions {
  /** First replay this many bytes of its earlier output (all that is kept: 64 KiB). */
  readonly replay?: number;
  /** As of {@link SpawnOptions}. */
  readonly window?: number;
  /** Aborting detaches from the process, which goes on. */
  readonly signal?: AbortSignal;
}

/** How a program ended: by `exitCode` or by `signal`, never both. */
export interface ExitStatus {
  readonly exitCode: number | null;
  /** Name of the signal that ended it: `"SIGKILL"`. */
  readonly signal: string | null;
  /** Killed because `timeoutMs` ran out. */
  readonly timedOut: boolean;
  /** It or one of its children was killed because it exceeded the memory of `limits`. */
  readonly oomKilled: boolean;
  /** Exit code 0, in time. */
  readonly ok: boolean;
}

export interface ExecResult extends ExitStatus {
  /** Output as UTF-8 text; a byte that is not UTF-8 shows as U+FFFD. */
  readonly stdout: string;
  readonly stderr: string;
  /** It printed more than `maxOutput`; this is the beginning. */
  readonly truncated: boolean;
  /** Output as exact bytes. */
  readonly stdoutBytes: Uint8Array;
  readonly stderrBytes: Uint8Array;
  /** Milliseconds from request to end, by the host's clock. */
  readonly durationMs: number;
}

export interface WaitForOptions {
  /** Give up after so many milliseconds (30,000). */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** A program that runs in the sandbox. Disposing of it kills it. */
export interface AgentProcess extends AsyncDisposable {
  /** Process id in the guest. */
  readonly pid: number;
  /**
   * Output as it comes. The program waits for a slow reader. If you read only one of the two streams, capsa keeps the last
   * 256 KiB of the other and counts the rest in `dropped`.
   */
  readonly stdout: OutputStream;
  /** Empty if the program has a terminal. */
  readonly stderr: OutputStream;
  /** Bytes that nobody read in time, see `stdout`. */
  readonly dropped: { readonly stdout: number; readonly stderr: number };
  /**
   * Wait for a line of stdout or stderr that matches. From then on capsa reads all output, so the program never blocks; do
   * not read the streams as well. A later call waits for a later line. Rejects with `AgentError`, whose message has the
   * last lines: `ETIMEDOUT`, or `PROCESS_ENDED` if the program ended first.
   * @example
   * await using server = await agent.spawn(["sh", "-c", "echo listening on 8000; sleep 60"]);
   * const [, port] = await server.waitFor(/listening on (\d+)/, { timeoutMs: 10_000 });
   */
  waitFor(pattern: RegExp | string, options?: WaitForOptions): Promise<RegExpExecArray>;
  /** Standard input with `stdin: "pipe"` or a terminal, otherwise null. Closing it sends end of file. */
  readonly stdin: WritableStream<Uint8Array> | null;
  /** Settles when the program has ended and its output was delivered. */
  readonly exited: Promise<ExitStatus>;
  /**
   * The same as a call.
   * @example const { exitCode, signal } = await child.wait();
   */
  wait(): Promise<ExitStatus>;
  /**
   * Send a signal, by name or number, to the process group (`"SIGKILL"` without).
   * @example child.kill("SIGTERM");
   */
  kill(signal?: string | number): void;
  /**
   * Change the size of its terminal; the program gets SIGWINCH. Without a terminal nothing happens.
   * @example child.resize(120, 40);
   */
  resize(columns: number, rows: number): void;
}

/** A background process, as `spawn` with `detach` returns it. */
export interface BackgroundProcess {
  /** Its number for `attachProcess`. */
  readonly id: number;
  /** Process id in the guest. */
  readonly pid: number;
}

/**
 * A background process that you are attached to. Meanwhile it waits for you to read its output. `detach`, disposing of it
 * and closing the connection all let it run on.
 */
export interface AttachedProcess extends AgentProcess, BackgroundProcess {
  /** Its stdin, stdout and stderr are a terminal. */
  readonly terminal: boolean;
  /**
   * Detach: the streams end, `exited` rejects with ECANCELED, and the process goes on.
   * @example
   * const server = await agent.attachProcess(id);
   * server.detach();
   */
  detach(): void;
}

/** A background process in a list. */
export interface ProcessEntry extends BackgroundProcess {
  /** The first 512 bytes of its arguments; a byte that is not UTF-8 shows as U+FFFD. */
  readonly argv: readonly string[];
  /** On the sandbox's clock. */
  readonly started: Date;
  /** How it ended; null while it runs. */
  readonly status: ExitStatus | null;
}

export interface GuestInfo {
  /** Kernel release, as `uname -r`. */
  readonly kernel: string;
  readonly hostname: string;
  /** As `uname -m`: `"x86_64"`. */
  readonly arch: string;
  readonly cpus: number;
  /** Bytes; `memoryFree` is what programs could still take. */
  readonly memoryTotal: number;
  readonly memoryFree: number;
  readonly uptimeMs: number;
}

/**
 * The agent of one sandbox. Calls may overlap. A call rejects with {@link AgentError} if the guest refuses, with {@link
 * GuestLostError} if the sandbox or the connection ends, and with the signal's reason if it is aborted.
 */
export interface Agent extends AgentFiles, AsyncDisposable {
  /** Name and version of the agent. */
  readonly version: string;

  /**
   * Run a program to its end. `/bin/sh -c` runs a string; an array runs without a shell. A failed program is a result, not
   * an error. The second argument is an environment, or options if it has the name of an option.
   * @example const { stdout, exitCode } = await agent.exec("echo $GREETING", { GREETING: "hello" });
   * @example await agent.exec(["python3", "/project/script.py"], { cwd: "/project", timeoutMs: 60_000 });
   */
  exec(command: string | readonly string[], envOrOptions?: Environment | ExecOptions): Promise<ExecResult>;

  /**
   * Start a program and stream its input and output; resolves once it runs.
   * @example
   * await using child = await agent.spawn(["sort"], { stdin: "pipe" });
   * const writer = child.stdin!.getWriter();
   * await writer.write(new TextEncoder().encode("b\na\n"));
   * await writer.close();
   * console.log(await new Response(child.stdout).text());
   * @example
   * // a terminal
   * await using shell = await agent.spawn(["sh"], { pty: { columns: 120, rows: 40 } });
   * @example
   * // in the background: not ended by the end of this connection, not held up by having no reader. The last 64 KiB of
   * // its output are kept; at most 256 run at once (`EAGAIN`), and the last 64 that ended are remembered.
   * const { id } = await agent.spawn(["server"], { detach: true });
   */
  spawn(command: string | readonly string[], options: DetachOptions): Promise<BackgroundProcess>;
  spawn(command: string | readonly string[], options?: SpawnOptions): Promise<AgentProcess>;

  /**
   * Attach to a background process, running or ended. First you get the output that was kept, then new output. Rejects with
   * `ESRCH` if it is unknown. Whoever was attached before is detached (`ECANCELED`).
   * @example
   * await using server = await agent.attachProcess(id);
   * for await (const line of server.stdout.lines()) if (line.includes("listening")) break;
   */
  attachProcess(id: number, options?: AttachOptions): Promise<AttachedProcess>;

  /**
   * The running background processes and the last that ended, the oldest first.
   * @example for (const { id, argv, status } of await agent.processes()) console.log(id, argv, status?.exitCode);
   */
  processes(options?: CallOptions): Promise<ProcessEntry[]>;

  /**
   * What the guest reports about itself.
   * @example const { kernel, cpus } = await agent.info();
   */
  info(options?: CallOptions): Promise<GuestInfo>;

  /**
   * Round-trip time to the agent, milliseconds.
   * @example console.log(await agent.ping());
   */
  ping(options?: CallOptions): Promise<number>;

  /**
   * Ask the sandbox to end: TERM to the main process, KILL after `graceMs` (5000), sync, power off. Resolves when the agent
   * has agreed; wait for the end with `vm.exited`.
   * @example
   * ```ts no_run
   * await agent.shutdown({ graceMs: 1000 });
   * ```
   */
  shutdown(options?: CallOptions & { readonly graceMs?: number }): Promise<void>;

  /**
   * Close the connection. Its programs are killed, background processes are not. The sandbox goes on.
   * @example await agent.close();
   */
  close(): Promise<void>;
}
