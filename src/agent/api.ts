/** What a sandbox's agent can do, as its callers see it. */

import type { Input, OutputStream } from "../wire/streams.ts";
import type { AgentFiles, CallOptions } from "./files_api.ts";

export type { Input, OutputStream } from "../wire/streams.ts";
export type * from "./files_api.ts";

/** Environment variables by name, in capitals; others go in `{ env: { … } }`, as what is no option would be a misspelt one. */
export type Environment = Readonly<Record<Uppercase<string>, string>> & {
  readonly [K in keyof ExecOptions]?: never;
};

/** Limits of one program, below those of its sandbox. */
export interface Limits {
  /** Memory, MiB. A program that wants more is killed with all it started, and its end has `oomKilled`. */
  readonly memoryMb?: number;
  /** Processors' time: 0.5 is half of one, 0.01 the least. */
  readonly cpus?: number;
  /** Processes and threads; one more cannot be started (EAGAIN). */
  readonly pids?: number;
}

/** Size of a terminal in characters, each from 1 to 65535. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

interface ProcessOptions {
  /** Where stderr goes, if not into a stream of its own: among stdout, as it comes, or nowhere. */
  readonly stderr?: "stdout" | "discard";
  /** Added to the sandbox's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Take nothing of the sandbox's environment. */
  readonly clearEnv?: boolean;
  /** Working directory, absolute; the sandbox's root without. */
  readonly cwd?: string;
  /**
   * Who it runs as; root without. A name, `"name:group"` or `"1000:1000"` is looked up in the sandbox's /etc/passwd and
   * /etc/group, which also give its other groups, HOME and USER; a number is taken as it is, without other groups.
   */
  readonly user?: number | string;
  /** Numeric group id, in place of all groups that `user` gives. */
  readonly group?: number;
  /** What it and all it starts may use together; what it leaves behind then ends with it. */
  readonly limits?: Limits;
  /** Kill the process group after so many milliseconds; the result then has `timedOut`. No limit without. */
  readonly timeoutMs?: number;
  /** Aborting kills the process group and ends the call with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface ExecOptions extends ProcessOptions {
  /** Standard input; empty without. */
  readonly stdin?: Input;
  /**
   * Called with each piece of output as it comes; a promise that it gives is awaited, and holds the program back meanwhile.
   * With it that output is not collected. If it throws, the program is killed and the call rejects with that.
   */
  readonly onStdout?: (chunk: Uint8Array) => void;
  readonly onStderr?: (chunk: Uint8Array) => void;
  /**
   * Most bytes that the program may print, stdout and stderr together, whether they are collected or passed on. Without it
   * 67,108,864 are collected, and what is passed on has no limit.
   */
  readonly maxOutput?: number;
  /**
   * What happens beyond `maxOutput`. `"truncate"`: the program goes on, and what it still prints is dropped. `"kill"`: it is
   * killed. Both results have `truncated`, and what came before. Without it the program is killed, and the call rejects
   * with OUTPUT_TOO_LARGE.
   */
  readonly onLimit?: "truncate" | "kill";
}

export interface SpawnOptions extends ProcessOptions {
  /** `"pipe"` gives `stdin` to write to, anything else is fed by itself. A terminal is `"pipe"` without. */
  readonly stdin?: Input | "pipe";
  /**
   * Give it a terminal, of 80 by 24 or another size: its stdin, stdout and stderr in one. All output then comes out of
   * `stdout`, with `\r\n` ends; TERM is `"xterm"` unless `env` says otherwise.
   */
  readonly pty?: boolean | TerminalSize;
  /** Bytes the guest may send ahead of the reader, stdout and stderr together (1,048,576; at most 4,194,304). */
  readonly window?: number;
}

/** Of a process that goes on without this connection, see {@link Agent.spawn}. */
export interface DetachOptions extends Omit<SpawnOptions, "stdin" | "window"> {
  readonly detach: true;
  /** `"pipe"` for those who attach to write to; end of file without. */
  readonly stdin?: "pipe";
}

export interface AttachOptions {
  /** So many of the last bytes it printed before come first; all that is kept (64 KiB) without. */
  readonly replay?: number;
  /** As of {@link SpawnOptions}. */
  readonly window?: number;
  /** Aborting lets go of the process, which goes on. */
  readonly signal?: AbortSignal;
}

/** How a program ended: by `exitCode` or by `signal`, never both. */
export interface ExitStatus {
  readonly exitCode: number | null;
  /** Name of the signal that ended it: `"SIGKILL"`. */
  readonly signal: string | null;
  /** Killed because `timeoutMs` ran out. */
  readonly timedOut: boolean;
  /** It, or something it started, was killed for want of the memory that `limits` gave. */
  readonly oomKilled: boolean;
  /** Exit code 0, in time. */
  readonly ok: boolean;
}

export interface ExecResult extends ExitStatus {
  /** Output as UTF-8 text; a byte that is not UTF-8 shows as U+FFFD. */
  readonly stdout: string;
  readonly stderr: string;
  /** It printed more than `maxOutput`: this is how it began. */
  readonly truncated: boolean;
  /** Output to the byte. */
  readonly stdoutBytes: Uint8Array;
  readonly stderrBytes: Uint8Array;
  /** From request to end, milliseconds on the host's clock. */
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
   * Output as it comes; the program waits for who reads it slowly. While one is read and the other never was, the last
   * 256 KiB of the other are kept, and `dropped` counts the rest.
   */
  readonly stdout: OutputStream;
  /** Nothing where there is a terminal. */
  readonly stderr: OutputStream;
  /** Bytes that nobody read in time, see `stdout`. */
  readonly dropped: { readonly stdout: number; readonly stderr: number };
  /**
   * Wait for a line of stdout or stderr that matches, and go on taking what the program prints, so that it is never held
   * up: what it prints is not to be read by the streams then. A later call waits for a later line. Rejects with
   * `AgentError`, whose message has the last lines: `ETIMEDOUT`, `PROCESS_ENDED` when it ended before.
   * @example
   * await using server = await agent.spawn(["sh", "-c", "echo listening on 8000; sleep 60"]);
   * const [, port] = await server.waitFor(/listening on (\d+)/, { timeoutMs: 10_000 });
   */
  waitFor(pattern: RegExp | string, options?: WaitForOptions): Promise<RegExpExecArray>;
  /** Standard input with `stdin: "pipe"` or a terminal, else null. Closing it is end of file. */
  readonly stdin: WritableStream<Uint8Array> | null;
  /** Settles when the program has ended and its output was delivered. */
  readonly exited: Promise<ExitStatus>;
  /**
   * The same, for those who ask when they want to know.
   * @example const { exitCode, signal } = await child.wait();
   */
  wait(): Promise<ExitStatus>;
  /**
   * Send a signal, by name or number, to the process group (`"SIGKILL"` without).
   * @example child.kill("SIGTERM");
   */
  kill(signal?: string | number): void;
  /**
   * Change the size of its terminal, of which it is told by SIGWINCH; nothing for one that has none.
   * @example child.resize(120, 40);
   */
  resize(columns: number, rows: number): void;
}

/** A process in the background as `spawn` with `detach` leaves it. */
export interface BackgroundProcess {
  /** Its number for `attachProcess`. */
  readonly id: number;
  /** Process id in the guest. */
  readonly pid: number;
}

/**
 * A process in the background, attached to. While it is, its output waits to be read as that of any other; `detach`,
 * disposing of it or closing the connection let it go on by itself.
 */
export interface AttachedProcess extends AgentProcess, BackgroundProcess {
  /** Its stdin, stdout and stderr are a terminal. */
  readonly terminal: boolean;
  /**
   * Let go of it: the streams end, `exited` rejects with ECANCELED, the process goes on.
   * @example
   * const server = await agent.attachProcess(id);
   * server.detach();
   */
  detach(): void;
}

/** A process in the background as it is listed. */
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
 * The agent of one sandbox. Calls may overlap freely. Every call rejects with {@link AgentError} where the guest says
 * no, with {@link GuestLostError} when the sandbox or the connection ends, and with the signal's reason when aborted.
 */
export interface Agent extends AgentFiles, AsyncDisposable {
  /** Name and version of the agent. */
  readonly version: string;

  /**
   * Run a program to its end. A string is run by `/bin/sh -c`, an array as it is. A program that fails is a result, not
   * an error. The second argument is an environment or, when it has the name of an option, options.
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
   * Attach to a process in the background, running or ended: what is kept of its output comes first, then what it
   * prints from now on. `ESRCH` for one that is not known; who was attached before is let go (`ECANCELED`).
   * @example
   * await using server = await agent.attachProcess(id);
   * for await (const line of server.stdout.lines()) if (line.includes("listening")) break;
   */
  attachProcess(id: number, options?: AttachOptions): Promise<AttachedProcess>;

  /**
   * The processes in the background that run, and the last that ended; the oldest first.
   * @example for (const { id, argv, status } of await agent.processes()) console.log(id, argv, status?.exitCode);
   */
  processes(options?: CallOptions): Promise<ProcessEntry[]>;

  /**
   * What the guest says of itself.
   * @example const { kernel, cpus } = await agent.info();
   */
  info(options?: CallOptions): Promise<GuestInfo>;

  /**
   * Round trip to the agent, milliseconds.
   * @example console.log(await agent.ping());
   */
  ping(options?: CallOptions): Promise<number>;

  /**
   * Ask the sandbox to end: TERM to the main process, KILL after `graceMs` (5000), sync, power off. Resolves once the
   * agent has agreed; `vm.exited` tells the end.
   * @example
   * ```ts no_run
   * await agent.shutdown({ graceMs: 1000 });
   * ```
   */
  shutdown(options?: CallOptions & { readonly graceMs?: number }): Promise<void>;

  /**
   * Close the connection: what runs by it is killed, what is in the background is not. The sandbox goes on.
   * @example await agent.close();
   */
  close(): Promise<void>;
}
