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
  /** Called with what the user should know, such as the engine that was chosen and its cost. */
  readonly onNotice?: (notice: Notice) => void;
  /** Called when the sandbox's network refuses something, at most once in ten seconds for each thing. */
  readonly onRefusal?: (refusal: NetworkRefusal) => void;
  /** Called when a rule of `log` lets something through, at most once in ten seconds for each thing. */
  readonly onAccess?: (access: NetworkAccess) => void;
  /** The sandbox outlives this process. capsa keeps the logs of the last 20 that ended. */
  readonly detached?: boolean;
  /**
   * Keep changes in transactional shares after the sandbox ends, until you apply or discard them (`pendingChanges()`,
   * `capsa diff`). Those of a detached sandbox are always kept.
   */
  readonly keepChanges?: boolean;
}

/** How long each part of the way from start to agent took, milliseconds. */
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
   * `main`: its main process ended; `shutdown`: the guest was asked to end, or powered itself off; `stopped`: its power was
   * cut; `ttl`: its time ended; `idle`: nothing used it for its `idleTimeout`; `failed`: it broke; `detached`: it still
   * runs, and only this connection ended.
   */
  readonly reason: "main" | "shutdown" | "stopped" | "ttl" | "idle" | "failed" | "detached";
  /** Exit code of the main process, if it ended with one. */
  readonly exitCode: number | null;
  /** Name of the signal: `"SIGTERM"`. */
  readonly signal: string | null;
  /** With `failed`: what broke. */
  readonly failure?: { readonly code: string; readonly message: string };
}

/**
 * Something that happened to a sandbox, and when this process learned of it.
 *
 * - `started`: its vCPUs run; `ready`: its agent listens; `exited`: the last event
 * - `paused`, `resumed`: whoever did it
 * - `refusal`, `access`: what `onRefusal` and `onAccess` get
 * - `oom`: the guest's kernel killed a process for lack of memory: that of its `limits` (`limited`) or of the guest
 * - `expired`: the sandbox ends for this reason
 * - `dropped`: this reader was too slow, and this many events are missing here
 *
 * The guest reports `main-started`, `main-exit`, `oom` and `expired`; a hostile guest can lie.
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
  /** Processor time of this machine for the guest and the processes that serve it, milliseconds. */
  readonly cpuMs: number;
  readonly memory: {
    /** What the guest was given. */
    readonly sizeBytes: number;
    /** Memory that the guest has left after `setMemory`, as it reports; absent while it is paused. */
    readonly currentBytes?: number;
    /** Memory of this machine that the sandbox holds: guest memory in use, and the processes that serve it. */
    readonly residentBytes: number;
    /** Total memory that the guest's kernel reports. It keeps some for itself. Absent while no agent answers. */
    readonly guestTotalBytes?: number;
    /** Memory that the guest's programs can still get; absent while no agent answers. */
    readonly guestAvailableBytes?: number;
  };
  /** Bytes of files in shares and in the root file system. Reads from the guest's cache do not count. */
  readonly shares: {
    readonly readBytes: number;
    readonly writtenBytes: number;
    /** Requests of the guest's kernel, of any kind. */
    readonly requests: number;
  };
  /** Ethernet frames, as the guest sees them; absent without a network. */
  readonly network?: { readonly receivedBytes: number; readonly sentBytes: number };
}

/** How a guest has used a share, as the host saw it. Failed attempts count too. */
export interface ShareUse {
  /** The share, by its place in the guest. */
  readonly guest: string;
  /** The guest looked at, read or wrote something. Mounting does not count. */
  readonly used: boolean;
  /** The guest created, changed or removed something, or opened a file to write. In a read-only share that was refused. */
  readonly written: boolean;
  /**
   * Top entries of the share that were used, sorted, up to 1 KiB of names. Bytes that are not UTF-8 and control characters
   * show as `\xNN`, a backslash as `\x5c`.
   */
  readonly entries: readonly string[];
  /** There were more. */
  readonly more: boolean;
}

/** A guest's vsock port as a Unix socket on the host. `${socket}` gives its path. */
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
  /** Published ports, in the order of `publish`, with the free ports that were chosen. Empty until the vCPUs run. */
  readonly ports: readonly PublishedPort[];
  /** Its network's rules, which can change while it runs. */
  readonly network: SandboxNetwork;

  /** Resolves when the agent listens. Rejects with {@link BootError} if the boot fails or takes too long. */
  readonly ready: Promise<BootTimings>;
  /** Known once ready. */
  readonly timings: BootTimings | undefined;
  /** Settles when the sandbox has ended and its runtime directory is gone. Never rejects. */
  readonly exited: Promise<SandboxExit>;

  /**
   * Output of the main process from its start (attached: from now on). capsa keeps the last 1 MiB until somebody reads. A
   * reader may lag 64 MiB. `dropped` counts what was lost.
   */
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  /** Console of the guest: kernel and init. It is kept and dropped like `stdout`. */
  readonly console: ReadableStream<Uint8Array>;
  /** Bytes lost because nobody read in time. */
  readonly dropped: { readonly stdout: number; readonly stderr: number; readonly console: number };
  /**
   * The last 16 KiB of the console as text.
   * @example console.error(vm.consoleTail());
   */
  consoleTail(): string;

  /**
   * The Unix socket of a guest port. The agent's port is open from the start. This call opens others.
   * @example const socket = vm.vsockSocket(sandbox.agentPort());
   */
  vsockSocket(port: number): VsockSocket;

  /**
   * Make a server in the guest reachable at a port or socket of this machine. The guest needs no network. `guestPort` is a
   * port of the guest's 127.0.0.1 (or ::1), or the path of a Unix socket. The call waits until the sandbox is ready. It
   * rejects with `HostError` (`PORT_IN_USE`, an errno name) if capsa cannot listen there, `SpecError` for a bad place,
   * {@link BootError} if the sandbox never gets ready, or the signal's reason. A connection that no guest program accepts
   * is reset and reported to `onFailure`.
   * @example
   * await using web = await vm.forward(8000);
   * const page = await fetch(web.url);
   */
  forward(guestPort: number | string, options?: ForwardOptions): Promise<Forward>;

  /**
   * Make one service of this machine reachable at a port of the guest's loopback, and nothing else. `hostPort` is a port of
   * 127.0.0.1, or the path of a Unix socket. The call waits until the sandbox is ready. It rejects with `AgentError`
   * (`EADDRINUSE`) if the guest uses that port, and otherwise like {@link forward}.
   * @example
   * ```ts no_run
   * await using database = await vm.expose(5432);
   * await agent.exec(["psql", "-h", "127.0.0.1", "-p", String(database.guestPort), "-c", "select 1"]);
   * ```
   */
  expose(hostPort: number | string, options?: ExposeOptions): Promise<Exposure>;

  /**
   * Changes of the guest in its shares with `MountMode.Transaction` that nobody has applied or discarded, sorted by path.
   * Writes through mapped memory count after `msync` or closing. Rejects with `CapsaError` `NO_CHANGES_KEPT` if the sandbox
   * has ended and its changes were not kept, and with `HostFileError` if capsa cannot read a file of this machine.
   * @example for (const { kind, path } of await vm.changes()) console.log(kind, path);
   */
  changes(): Promise<Change[]>;

  /**
   * The changes as text: one line each and, for text files, a diff as `diff -u` writes it. `paths` are files or directories
   * of the guest. Leave `paths` out for all changes; an empty array gives an empty diff. Rejects like {@link changes}, and
   * with `NO_SUCH_CHANGE` if nothing has changed at a path.
   * @example console.log(await vm.diff(["/project/src"]));
   * @example await Bun.write("agent.patch", await vm.diff(["/project"], { format: "git" })); // for `git apply`
   */
  diff(paths?: readonly string[], options?: DiffOptions): Promise<string>;

  /**
   * Write changes into the shared directories: all, or those at `paths`. Each change is one atomic step. If this process
   * dies meanwhile, the next apply completes the rest. A path that this machine has changed since the start is refused,
   * unless `force` is set. The guest keeps its own files. Rejects like {@link diff}.
   * @example
   * const { refused } = await vm.apply(["/project/src"]);
   * for (const { path, conflict } of refused) console.error(path, conflict);
   */
  apply(paths?: readonly string[], options?: ApplyOptions): Promise<ApplyResult>;

  /**
   * Drop all changes, or those at `paths`. They are not listed or applied any more, until the guest changes the same files
   * again. A running guest still sees its files. Rejects like {@link diff}.
   * @example await vm.discard(["/project/node_modules"]);
   */
  discard(paths?: readonly string[]): Promise<Change[]>;

  /**
   * Events from the start of the sandbox (attached: from now on, with `ready` and `paused` if they hold) to `exited`, which
   * ends the loop. capsa keeps the last 1024 events for late readers and reports lost ones as `dropped`. Aborting ends the
   * loop with the signal's reason.
   * @example
   * ```ts no_run
   * for await (const event of vm.events()) {
   *   if (event.type === "oom") console.error(`${event.program} was killed: the sandbox has too little memory`);
   * }
   * ```
   */
  events(options?: { readonly signal?: AbortSignal }): AsyncGenerator<SandboxEvent, void, void>;

  /**
   * How its processes on this machine are confined: layers for `"capsa-vmm"` and, with engine qemu, `"qemu"`. Rejects with
   * `VmmError` `VMM_GONE` after its end.
   * @example
   * const layers = Object.values(await vm.confinement()).flat();
   * if (!layers.every(({ applied }) => applied)) console.error("this machine lacks layers of confinement");
   */
  confinement(): Promise<Confinement>;

  /**
   * What it uses. Rejects with `VmmError` `VMM_GONE` after its end.
   * @example
   * const { cpuMs, memory } = await vm.metrics();
   */
  metrics(): Promise<SandboxMetrics>;

  /**
   * Which of its shares the guest has used, until now or until its end, in the order of the specification. For shares in
   * mode `transaction` see `changes()`. Rejects with `VmmError` `VMM_GONE` if its VMM was killed.
   * @example
   * const unused = (await vm.shareUse()).filter(({ used }) => !used);
   */
  shareUse(): Promise<ShareUse[]>;

  /**
   * Ask the guest to use only this much memory, in bytes or as `"512M"`. It can be at most the memory that the sandbox
   * started with. This machine gets the rest back until you raise the number. Resolves with the size that the guest has
   * reached. A hostile guest can refuse or take memory back, but never has more than at the start.
   *
   * Rejects with `SpecError` for a bad size, and with `VmmError`: `EINVAL` above the size at the start, `ETIMEDOUT` if the
   * guest does not get there in time (the request stays in force), `EBUSY` while it is paused, `ENODEV` if engine `qemu`
   * had no room for the device (with a network, shares and three or more private networks).
   * @example
   * await vm.setMemory("448M");
   * await vm.setMemory("512M");
   */
  setMemory(size: number | string, options?: SetMemoryOptions): Promise<number>;

  /**
   * Exit code of the main process: 128 + n if signal n ended it. `VmmError` if the sandbox ended without one.
   * @example
   * ```ts no_run
   * process.exitCode = await vm.wait();
   * ```
   */
  wait(): Promise<number>;

  /**
   * Ask the sandbox to end. If it still runs `graceMs` (5000) plus two seconds later, end it.
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
   * Stop the vCPUs until {@link resume}.
   * @example await vm.pause(); await vm.resume();
   */
  pause(): Promise<void>;

  /**
   * Let the vCPUs run again.
   * @example await vm.pause(); await vm.resume();
   */
  resume(): Promise<void>;

  /**
   * Let it outlive this process. Here the connection, `exited` and the streams end.
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
