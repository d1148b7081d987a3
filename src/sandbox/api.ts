/** A running sandbox, and how one is started, as their callers see them. */

import type { ExposeOptions, Exposure, Forward, ForwardOptions } from "../agent/forward/api.ts";
import type { ApplyOptions, ApplyResult, Change, DiffOptions } from "../changes/api.ts";
import type { EngineName } from "../engine/engines.ts";
import type { Notice } from "../errors/errors.ts";
import type { NetworkAccess, NetworkRefusal, PublishedPort, SandboxNetwork } from "../network/spec.ts";
import type { SandboxSpec } from "../spec/spec.ts";
import type { AgentCalls } from "./agent_calls.ts";
import type { Confinement } from "./confinement.ts";
import type { SetMemoryOptions } from "./memory.ts";

export type { ApplyOptions, ApplyResult, Change, Changes, DiffOptions } from "../changes/api.ts";
export type { Notice } from "../errors/errors.ts";
export type {
  EnforcedRule,
  NetworkAccess,
  NetworkCounters,
  NetworkExplanation,
  NetworkPlace,
  NetworkRefusal,
  NetworkState,
  NetworkUpdate,
  PublishedPort,
  SandboxNetwork,
} from "../network/spec.ts";

export interface StartOptions {
  /** Aborting ends the start, and the sandbox with it. */
  readonly signal?: AbortSignal;
  /** Told what the user should know: the engine that was taken and what it costs, … */
  readonly onNotice?: (notice: Notice) => void;
  /** Told when the sandbox's network refuses something: each thing once in ten seconds. */
  readonly onRefusal?: (refusal: NetworkRefusal) => void;
  /** Told when a rule of `log` lets something through: each thing once in ten seconds. */
  readonly onAccess?: (access: NetworkAccess) => void;
  /** Outlive this process; its logs are kept after its end (the last 20 sandboxes). */
  readonly detached?: boolean;
  /**
   * Changes in transactional shares outlive the sandbox, until somebody applies or discards them (`pendingChanges()`,
   * `capsa diff`). Those of a detached one do anyway; else they end with it.
   */
  readonly keepChanges?: boolean;
}

/** Where the time from start to agent ready went, milliseconds. */
export interface BootTimings {
  /** Plan, initramfs and VMM: until the vCPUs run. */
  readonly spawnMs: number;
  /** The kernel, to the first line of init. */
  readonly kernelMs: number;
  /** Init until it mounts. */
  readonly initMs: number;
  /** Shares and rootfs. */
  readonly mountsMs: number;
  /** The agent, until it listens. */
  readonly agentMs: number;
  /** The whole, as this process saw it. */
  readonly totalMs: number;
}

/** Why a sandbox ended. */
export interface SandboxExit {
  /**
   * `main`: its main process ended; `shutdown`: it was asked to, or powered itself off; `stopped`: the power was cut;
   * `ttl`: its time was over; `idle`: nothing had used it for as long as its `idleTimeout`; `failed`: it broke; `detached`: it goes on, and only this connection to it has ended.
   */
  readonly reason: "main" | "shutdown" | "stopped" | "ttl" | "idle" | "failed" | "detached";
  /** Of the main process, where it ended: by exit code or by signal. */
  readonly exitCode: number | null;
  /** Name of the signal: `"SIGTERM"`. */
  readonly signal: string | null;
  /** With `failed`: what broke. */
  readonly failure?: { readonly code: string; readonly message: string };
}

/**
 * Something that happened to a sandbox, and when this process heard of it.
 *
 * - `started`: its vCPUs run; `ready`: its agent listens; `exited`: the last one
 * - `paused`, `resumed`: by whomever
 * - `refusal`, `access`: as `onRefusal` and `onAccess` are told
 * - `oom`: the guest's kernel has killed a process for want of memory, of what `limits` gave it (`limited`) or of the guest's
 * - `expired`: it ends because of that
 * - `dropped`: so many events are missing here, as this reader was too far behind
 *
 * `main-started`, `main-exit`, `oom` and `expired` are the guest's word.
 */
export type SandboxEvent = { readonly at: Date } & (
  | { readonly type: "started"; readonly ports: readonly PublishedPort[] }
  | { readonly type: "ready"; readonly timings: BootTimings }
  | { readonly type: "main-started"; readonly pid: number }
  | { readonly type: "main-exit"; readonly exitCode: number | null; readonly signal: string | null }
  | { readonly type: "paused" | "resumed" }
  | { readonly type: "refusal"; readonly refusal: NetworkRefusal }
  | { readonly type: "access"; readonly access: NetworkAccess }
  | { readonly type: "oom"; readonly pid: number; readonly program: string; readonly limited: boolean }
  | { readonly type: "expired"; readonly why: "ttl" | "idle" }
  | { readonly type: "exited"; readonly exit: SandboxExit }
  | { readonly type: "dropped"; readonly count: number }
);

/** What a sandbox has used since its start, and uses now. */
export interface SandboxMetrics {
  readonly state: "starting" | "running" | "paused" | "ending";
  /** Since the start of its VMM, milliseconds. */
  readonly uptimeMs: number;
  /** Processor time of this machine, of the guest's processors and of all that serves them, milliseconds. */
  readonly cpuMs: number;
  readonly memory: {
    /** What the guest was given. */
    readonly sizeBytes: number;
    /** What the guest is left with of that, see `setMemory`: as it says; absent while it is paused. */
    readonly currentBytes?: number;
    /** What of this machine's memory it holds: of the guest's what it has touched, and the processes that serve it. */
    readonly residentBytes: number;
    /** As the guest's kernel says, which has some for itself; absent while no agent answers. */
    readonly guestTotalBytes?: number;
    /** What the guest's programs could still have; absent while no agent answers. */
    readonly guestAvailableBytes?: number;
  };
  /** Of files in shares and in the root file system's directories; what the guest has cached is not read again. */
  readonly shares: {
    readonly readBytes: number;
    readonly writtenBytes: number;
    /** Of the guest's kernel, of whatever kind. */
    readonly requests: number;
  };
  /** Ethernet frames, as the guest sees them; absent without a network. */
  readonly network?: { readonly receivedBytes: number; readonly sentBytes: number };
}

/** What a guest has done with a share, as the host's side saw it: what it has tried counts, whatever came of it. */
export interface ShareUse {
  /** The share, by its place in the guest. */
  readonly guest: string;
  /** Anything at all: looked at, read or written. That it was mounted is no use. */
  readonly used: boolean;
  /** Something was made, changed or removed, or a file was opened for that. In a read-only share that was refused. */
  readonly written: boolean;
  /**
   * The share's own entries in and below which that was, sorted: the first of them, 1 KiB of names. What is not UTF-8, or
   * what a terminal would obey, shows as `\xNN`, a backslash as `\x5c`.
   */
  readonly entries: readonly string[];
  /** There were others. */
  readonly more: boolean;
}

/** A guest's vsock port as a Unix socket on the host; wherever a path is wanted, `${socket}` gives it. */
export interface VsockPort {
  readonly port: number;
  /** Path of the Unix socket; each connection to it is a stream to the port. */
  readonly path: string;
  /** Settles when the socket is there to connect to. */
  readonly opened: Promise<void>;
  /**
   * The path.
   * @example console.log(`connect to ${vm.vsockSocket(1024)}`);
   */
  toString(): string;
}

/** A port of a sandbox's guest. */
export interface VsockSocket extends VsockPort {
  /** The sandbox it belongs to. */
  readonly vm: RunningSandbox;
}

/**
 * A sandbox that runs, with the calls of its agent. Disposing of it ends it at once; of an attached one, closes the
 * connection only.
 * @example
 * await using vm = await Capsa.sandbox().run("/bin/sleep", ["60"]).build();
 * const { stdout } = await vm.exec("uname -a");
 */
export interface RunningSandbox extends AgentCalls, AsyncDisposable {
  /** Random, unique on this machine: eight hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly engine: EngineName;
  /** Process id of the VMM. */
  readonly pid: number;
  /** Its directory under the runtime directory, gone when it ends. */
  readonly runtimeDir: string;
  /** Started by another process and attached to. */
  readonly attached: boolean;
  /** What is published, in the order of `publish`, with the ports that were free; empty until the vCPUs run. */
  readonly ports: readonly PublishedPort[];
  /** Its network's rules, which can change while it runs. */
  readonly network: SandboxNetwork;

  /** Resolves when the agent listens; rejects with {@link BootError} when that cannot be any more, or not in time. */
  readonly ready: Promise<BootTimings>;
  /** Known once ready. */
  readonly timings: BootTimings | undefined;
  /** Settles when the sandbox has ended and its runtime directory is gone. Never rejects. */
  readonly exited: Promise<SandboxExit>;

  /**
   * Output of the main process from its start (attached: from now on). Until somebody reads the last 1 MiB is kept; a
   * reader may lag 64 MiB. What is dropped is counted in `dropped`.
   */
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  /** Console of the guest: kernel and init. Kept and dropped as `stdout` is. */
  readonly console: ReadableStream<Uint8Array>;
  /** Bytes lost because nobody read in time. */
  readonly dropped: { readonly stdout: number; readonly stderr: number; readonly console: number };
  /**
   * The last 16 KiB of the console as text.
   * @example console.error(vm.consoleTail());
   */
  consoleTail(): string;

  /**
   * The Unix socket of a guest port. The agent's port is open from the start, others are opened by the call.
   * @example const socket = vm.vsockSocket(sandbox.agentPort());
   */
  vsockSocket(port: number): VsockSocket;

  /**
   * Have a place of this machine lead to a server in the guest, which needs no network for it: to a port of the guest's
   * 127.0.0.1, or else its ::1, or to the path of a Unix socket there. Waits until the sandbox is ready. Rejects with
   * `HostError` (`PORT_IN_USE`, an errno name) when the place cannot be listened on, with `SpecError` for what is none,
   * with {@link BootError} when the sandbox is never ready, and with the signal's reason. A connection that nobody in the
   * guest takes is reset, and told to `onFailure`.
   * @example
   * await using web = await vm.forward(8000);
   * const page = await fetch(web.url);
   */
  forward(guestPort: number | string, options?: ForwardOptions): Promise<Forward>;

  /**
   * Have a port of the guest's own loopback lead to one service of this machine, and to nothing else of it: to a port of
   * 127.0.0.1, or to the path of a Unix socket. Waits until the sandbox is ready. Rejects with `AgentError` (`EADDRINUSE`)
   * when the guest has that port in use, and otherwise as {@link forward} does.
   * @example
   * ```ts no_run
   * await using database = await vm.expose(5432);
   * await agent.exec(["psql", "-h", "127.0.0.1", "-p", String(database.guestPort), "-c", "select 1"]);
   * ```
   */
  expose(hostPort: number | string, options?: ExposeOptions): Promise<Exposure>;

  /**
   * What the guest has changed in its shares with `MountMode.Transaction`, in the order of the paths, and nobody has
   * applied or discarded. Programs that write by mapped memory have to have it written (`msync`, closing) to be seen.
   * Rejects with `CapsaError` `NO_CHANGES_KEPT` when the sandbox has ended and they with it, and with `HostFileError` when
   * a file of this machine cannot be read.
   * @example for (const { kind, path } of await vm.changes()) console.log(kind, path);
   */
  changes(): Promise<Change[]>;

  /**
   * The same for people: a line a change and, for text, what differs, as `diff -u` has it. `paths`: those of the guest, or
   * of directories above; without a list all changes, of an empty one none. Rejects as {@link changes} does, and with `NO_SUCH_CHANGE` for a path at which
   * nothing has changed.
   * @example console.log(await vm.diff(["/project/src"]));
   * @example await Bun.write("agent.patch", await vm.diff(["/project"], { format: "git" })); // for `git apply`
   */
  diff(paths?: readonly string[], options?: DiffOptions): Promise<string>;

  /**
   * Make changes in the shared directories, all or those at `paths`: each in one step, and all of them in the end, even if
   * this process dies meanwhile. What this machine has changed since the start of the sandbox is refused, unless
   * `force` is set. The guest goes on with its own files. Rejects as {@link diff} does.
   * @example
   * const { refused } = await vm.apply(["/project/src"]);
   * for (const { path, conflict } of refused) console.error(path, conflict);
   */
  apply(paths?: readonly string[], options?: ApplyOptions): Promise<ApplyResult>;

  /**
   * Have changes be none, all or those at `paths`: they are listed no more, and not applied, until the guest changes the
   * same files again; a guest that runs goes on seeing them. Rejects as {@link diff} does.
   * @example await vm.discard(["/project/node_modules"]);
   */
  discard(paths?: readonly string[]): Promise<Change[]>;

  /**
   * What happens to it, from its start (attached: from then on, with `ready` and `paused` where it is) to its end; the loop
   * ends with `exited`. The last 1024 events are kept for who comes or reads late; what is lost beyond that is told as
   * `dropped`. Aborting ends the loop with the signal's reason.
   * @example
   * ```ts no_run
   * for await (const event of vm.events()) {
   *   if (event.type === "oom") console.error(`${event.program} was killed: the sandbox has too little memory`);
   * }
   * ```
   */
  events(options?: { readonly signal?: AbortSignal }): AsyncGenerator<SandboxEvent, void, void>;

  /**
   * How its processes on this machine are confined: a list of layers for `"capsa-vmm"` and, under engine qemu, `"qemu"`.
   * Rejects with `VmmError` `VMM_GONE` once it has ended.
   * @example
   * const layers = Object.values(await vm.confinement()).flat();
   * if (!layers.every(({ applied }) => applied)) console.error("this machine lacks layers of confinement");
   */
  confinement(): Promise<Confinement>;

  /**
   * What it uses. Rejects with `VmmError` `VMM_GONE` once it has ended.
   * @example
   * const { cpuMs, memory } = await vm.metrics();
   */
  metrics(): Promise<SandboxMetrics>;

  /**
   * Which of its shares were used so far or, once it has ended, until then; in the order of the specification, without those
   * in mode `transaction`, whose changes `changes()` tells. Rejects with `VmmError` `VMM_GONE` where its VMM was killed.
   * @example
   * const unused = (await vm.shareUse()).filter(({ used }) => !used);
   */
  shareUse(): Promise<ShareUse[]>;

  /**
   * Have the guest make do with so much memory, bytes or `"512M"`, at most what it was started with: what it gives up is this
   * machine's again, until it is set to more. Resolves once the guest has come so far, with what it has. A guest can refuse,
   * or take it back: this is no limit to a hostile one, whose memory never exceeds what it was started with.
   *
   * Rejects with `SpecError` for what is no size, and with `VmmError`: `EINVAL` above what it was started with, `ETIMEDOUT`
   * when the guest has not come so far in time (it goes on trying), `EBUSY` while it is paused, `ENODEV` where engine `qemu`
   * had no place for the device (with a network, shares and three private networks and more).
   * @example
   * await vm.setMemory("448M");
   * await vm.setMemory("512M");
   */
  setMemory(size: number | string, options?: SetMemoryOptions): Promise<number>;

  /**
   * Exit code of the main process: 128 + n when signal n ended it. `VmmError` when the sandbox ended without.
   * @example
   * ```ts no_run
   * process.exitCode = await vm.wait();
   * ```
   */
  wait(): Promise<number>;

  /**
   * Ask the sandbox to end, and end it when it has not after `graceMs` (5000) and two seconds more.
   * @example
   * ```ts no_run
   * await vm.stop({ graceMs: 1000 });
   * ```
   */
  stop(options?: { readonly graceMs?: number }): Promise<SandboxExit>;

  /**
   * End it at once, as a power cut does.
   * @example
   * ```ts no_run
   * await vm.kill();
   * ```
   */
  kill(): Promise<SandboxExit>;

  /**
   * Hold the vCPUs: the guest stands still until {@link resume}.
   * @example await vm.pause(); await vm.resume();
   */
  pause(): Promise<void>;

  /**
   * Let them go on.
   * @example await vm.pause(); await vm.resume();
   */
  resume(): Promise<void>;

  /**
   * Let it outlive this process, and close the connection to it: `exited` and the streams end here.
   * @example
   * ```ts no_run
   * await vm.detach();
   * ```
   */
  detach(): Promise<void>;

  /**
   * Let the program end while this runs, once there is nothing else to wait for: a sandbox of its own ends with it. What
   * is under way still holds the program: a call, a child whose output is read, a watch, a forward.
   * @example
   * ```ts no_run
   * const vm = await Capsa.sandbox().run("/bin/sleep", ["infinity"]).build();
   * vm.unref(); // nobody has to end it
   * ```
   */
  unref(): void;

  /**
   * The opposite of {@link unref}, as it is from the start: the program goes on until this has ended.
   * @example vm.ref();
   */
  ref(): void;
}

/** One running sandbox in the registry that all processes of a user share. */
export interface SandboxEntry {
  readonly id: string;
  readonly name: string;
  readonly engine: EngineName;
  /** Process id of the VMM. */
  readonly pid: number;
  readonly created: Date;
  readonly runtimeDir: string;
  readonly detached: boolean;
  readonly ports: readonly PublishedPort[];
  readonly spec: SandboxSpec;
}

/** One detached sandbox that has ended, with its logs. */
export interface EndedSandbox {
  readonly id: string;
  readonly name: string;
  readonly created: Date;
  readonly spec: SandboxSpec;
  readonly exit: SandboxExit | undefined;
}

/** One piece of a sandbox's log. */
export interface LogEntry {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
}
