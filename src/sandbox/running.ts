/** A running sandbox: its machine, and what its guest tells, made into promises and streams. */

import { type AgentClient, connectAgent } from "../agent/client.ts";
import type { ExposeOptions, Exposure, Forward, ForwardOptions } from "../agent/forward/api.ts";
import type { StagedChanges } from "../changes/changes.ts";
import { shownName } from "../changes/names.ts";
import type { EngineName } from "../engine/engines.ts";
import { named } from "../errors/check.ts";
import { guardMethods } from "../errors/edge.ts";
import { CapsaError, VmmError } from "../errors/errors.ts";
import { controlSocket } from "../host/directories.ts";
import { orAfter } from "../host/or_after.ts";
import { shellStatus } from "../host/signals.ts";
import { type Identity, Machine, type MachineExit } from "../machine/machine.ts";
import { sandboxNetwork } from "../network/control.ts";
import type { ShareSpec } from "../spec/spec.ts";
import { uint } from "../wire/fields.ts";
import { ProtocolError } from "../wire/framing.ts";
import { Tail } from "../wire/streams.ts";
import { WithAgent } from "./agent_calls.ts";
import type {
  ApplyOptions,
  ApplyResult,
  BootTimings,
  Change,
  DiffOptions,
  NetworkAccess,
  NetworkRefusal,
  Notice,
  PublishedPort,
  RunningSandbox,
  SandboxEntry,
  SandboxEvent,
  SandboxExit,
  SandboxMetrics,
  ShareUse,
  StartOptions,
  VsockSocket,
} from "./api.ts";
import { Boot } from "./boot.ts";
import { type Confinement, confinementOf } from "./confinement.ts";
import { Events } from "./events.ts";
import { type BootMoments, type GuestEvent, GuestEvents } from "./guest_events.ts";
import { readEventLog } from "./log.ts";
import type { SetMemoryOptions } from "./memory.ts";
import { AGENT_PORT, shareRoot } from "./plan.ts";
import { agentOf, whileItRuns } from "./ready.ts";

const GRACE_MS = 5000;
/** Of events that come in one piece with the reply after which they are sent, bytes. */
const MOST_EARLY = 16 << 20;
/** For a guest to sync and power off, beyond its main process's grace. */
const POWER_OFF_MS = 2000;

interface MainExit {
  readonly exitCode: number | null;
  readonly signal: string | null;
}

/** Who is told what the network refused, what it tells of, and what the user should know. */
type Listener = Pick<StartOptions, "onRefusal" | "onAccess" | "onNotice">;

/** Of a sandbox that runs, and since when its VMM does, see `ProcessIdentity`. */
export interface LivingEntry extends SandboxEntry {
  readonly start: string;
}

export class SandboxHandle extends WithAgent implements RunningSandbox {
  readonly id: string;
  readonly name: string;
  readonly engine: EngineName;
  readonly pid: number;
  readonly runtimeDir: string;
  readonly attached: boolean;
  readonly boot: Boot;
  ports: readonly PublishedPort[] = [];
  readonly network = sandboxNetwork((op, fields) => this.#machine.request(op, fields));

  #machine!: Machine;
  #exited!: Promise<SandboxExit>;
  readonly #output = { stdout: new Tail(), stderr: new Tail() };
  /** Undefined once the guest's stream turned out not to be one. */
  #events: GuestEvents | undefined = new GuestEvents();
  /** Set while an attached one reads what came before: what comes meanwhile waits. */
  #early: Uint8Array[] | undefined;
  #earlyBytes = 0;
  readonly #happened = new Events();
  #main: MainExit | undefined;
  /** Its guest has said that it ends because of that. */
  #expired: "ttl" | "idle" | undefined;
  #asked = false; // to shut down, by us

  readonly #shares: readonly ShareSpec[];

  /** Of its transactional shares, where it has some. */
  #staged: StagedChanges | undefined;

  readonly #tell: Listener;

  private constructor(identity: Identity, shares: readonly ShareSpec[], began: number, tell: Listener = {}) {
    super();
    this.#shares = shares;
    this.#tell = tell;
    ({
      id: this.id,
      name: this.name,
      engine: this.engine,
      pid: this.pid,
      runtimeDir: this.runtimeDir,
      attached: this.attached,
    } = identity);
    this.boot = new Boot(began, () => this.consoleTail());
  }

  /** Take over a VMM that was just started, by its control channel. */
  static async adopt(
    identity: Identity,
    shares: readonly ShareSpec[],
    control: number,
    began: number,
    tell: Listener,
    staged?: StagedChanges,
  ): Promise<SandboxHandle> {
    const handle = new SandboxHandle(identity, shares, began, tell);
    handle.#staged = staged;
    await handle.#connect(identity, { fd: control });
    return handle;
  }

  /** Follow a VMM that another process started. Rejects with `VmmError` when it has just ended. */
  static async attach(entry: LivingEntry): Promise<SandboxHandle> {
    const { id, name, engine, pid, start, runtimeDir, spec } = entry;
    const identity = { id, name, engine, pid, start, runtimeDir, attached: true };
    const age = Math.max(0, Date.now() - entry.created.getTime());
    const handle = new SandboxHandle(identity, spec.shares, performance.now() - age);
    handle.ports = entry.ports;
    if (spec.shares.some(({ mode }) => mode === "transaction"))
      handle.#staged = (await import("../changes/changes.ts")).changesOf(id);
    handle.#early = [];
    try {
      await handle.#connect(identity, { unix: controlSocket(runtimeDir) });
    } catch (cause) {
      if (cause instanceof VmmError) throw cause;
      throw new VmmError("VMM_GONE", `capsa cannot reach sandbox ${name} through its control socket`, {
        cause,
      });
    }
    try {
      const status = await handle.#machine.request("status", { follow: true });
      handle.#catchUp(uint(status, "eventsLog"));
      if (status.state === "paused") handle.#happened.add({ type: "paused" });
      return handle;
    } catch (error) {
      await handle.detach();
      throw error;
    }
  }

  async #connect(identity: Identity, target: { fd: number } | { unix: string }): Promise<void> {
    const listener = {
      onStarted: (ports: readonly PublishedPort[]) => {
        this.ports = ports;
        this.boot.started();
        this.#happened.add({ type: "started", ports });
      },
      onPause: (type: "paused" | "resumed") => this.#happened.add({ type }),
      onRefusal: (refusal: NetworkRefusal) => {
        this.#happened.add({ type: "refusal", refusal });
        this.#tell.onRefusal?.(refusal);
      },
      onAccess: (access: NetworkAccess) => {
        this.#happened.add({ type: "access", access });
        this.#tell.onAccess?.(access);
      },
      onNotice: (notice: Notice) => this.#tell.onNotice?.(notice),
      onGuest: (data: Uint8Array) => {
        if (this.#early === undefined) this.#onGuestData(data);
        else this.#keepEarly(this.#early, data);
      },
    };
    this.#machine = await Machine.open(identity, target, listener, [AGENT_PORT]);
    this.#exited = this.#machine.exited.then((exit) => this.#finish(exit));
    if (this.#staged !== undefined) this.#exited = this.#exited.then((exit) => this.#settle(exit));
  }

  #keepEarly(early: Uint8Array[], data: Uint8Array): void {
    this.#earlyBytes += data.length;
    if (this.#earlyBytes > MOST_EARLY)
      throw new ProtocolError("events come before the reply that they follow");
    early.push(data);
  }

  #catchUp(logged: number): void {
    const past = readEventLog(this.runtimeDir, logged);
    if (past.moments !== undefined) this.#ready(past.moments);
    if (past.exit?.failure !== undefined) this.#machine.blame(past.exit.failure);
    else if (past.exit !== undefined) this.#recall(past.exit);
    this.#events = past.rest;
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const data of early) this.#onGuestData(data);
  }

  // ---- what is told ----

  /** The vCPUs run; rejects with `BootError`. */
  get started(): Promise<void> {
    return this.#machine.started.catch(async () => {
      await this.exited;
      await this.boot.ready; // it knows best why not
    });
  }

  get exited(): Promise<SandboxExit> {
    return this.#exited;
  }

  get ready(): Promise<BootTimings> {
    return this.boot.ready;
  }

  get timings(): BootTimings | undefined {
    return this.boot.timings;
  }

  get stdout(): ReadableStream<Uint8Array> {
    return this.#output.stdout.stream;
  }

  get stderr(): ReadableStream<Uint8Array> {
    return this.#output.stderr.stream;
  }

  get console(): ReadableStream<Uint8Array> {
    return this.#machine.console.stream;
  }

  get dropped(): RunningSandbox["dropped"] {
    const { stdout, stderr } = this.#output;
    return { stdout: stdout.dropped, stderr: stderr.dropped, console: this.#machine.console.dropped };
  }

  consoleTail(): string {
    return this.#machine.consoleTail();
  }

  #onGuestData(data: Uint8Array): void {
    if (this.#events === undefined) return;
    try {
      for (const event of this.#events.push(data)) this.#onGuest(event);
    } catch (error) {
      // A guest that does not keep to the protocol harms itself alone: it is heard no more
      this.#events = undefined;
      const message = `its event stream broke: ${(error as Error).message}`;
      this.#machine.blame({ code: "EPROTO", message });
      this.boot.fail("EPROTO", message);
    }
  }

  #onGuest(event: GuestEvent): void {
    switch (event.ev) {
      case "ready":
        this.#ready(event.moments);
        break;
      case "main-started":
        this.#happened.add({ type: "main-started", pid: event.pid });
        break;
      case "main-stdout":
        this.#output.stdout.push(event.data);
        break;
      case "main-stderr":
        this.#output.stderr.push(event.data);
        break;
      case "main-exit":
        if (this.#main !== undefined) break; // it has one life, whatever the guest says
        this.#main = { exitCode: event.exitCode, signal: event.signal };
        this.#happened.add({ type: "main-exit", ...this.#main });
        break;
      case "oom":
        this.#happened.add({ type: "oom", pid: event.pid, program: event.program, limited: event.limited });
        break;
      case "expired":
        if (this.#expired !== undefined) break;
        this.#expired = event.why;
        this.#happened.add({ type: "expired", why: event.why });
        break;
      case "boot-failed":
        this.#machine.blame({ code: event.code, message: event.message });
        this.boot.fail(event.code, event.message);
        break;
    }
  }

  #ready(moments: BootMoments): void {
    const first = this.boot.timings === undefined;
    this.boot.succeed(moments);
    if (first) this.#happened.add({ type: "ready", timings: this.boot.timings! });
  }

  /** What an attached one was told before. */
  #recall({ reason, exitCode, signal }: SandboxExit): void {
    if (reason === "ttl" || reason === "idle") this.#expired = reason;
    if (exitCode !== null || signal !== null) this.#main = { exitCode, signal };
  }

  #finish(machine: MachineExit): SandboxExit {
    const why = machine.failure ?? {
      code: "BOOT_FAILED",
      message: "the sandbox ended before it was ready",
    };
    this.boot.fail(why.code, why.message);
    for (const tail of Object.values(this.#output)) tail.end();
    const main = this.#main ?? { exitCode: null, signal: null };
    const exit = { ...main, ...machine, reason: this.#reason(machine.reason) };
    this.#happened.add({ type: "exited", exit });
    this.#happened.end();
    return exit;
  }

  /** Changes that nobody is to decide about end with it; where that fails, whoever looks at them next is told. */
  async #settle(exit: SandboxExit): Promise<SandboxExit> {
    if (exit.reason !== "detached") await this.#staged?.end().catch(() => {});
    return exit;
  }

  #reason(machine: MachineExit["reason"]): SandboxExit["reason"] {
    if (machine === "expired") return "ttl";
    if (machine !== "shutdown" || this.#asked) return machine;
    return this.#expired ?? (this.#main === undefined ? machine : "main");
  }

  // ---- what is asked ----

  vsockSocket(port: number): VsockSocket {
    const { path, opened } = this.#machine.vsockSocket(port);
    return { port, path, vm: this, opened, toString: () => path };
  }

  protected override connect(): Promise<AgentClient> {
    return agentOf(this);
  }

  // What is seldom used is loaded when it is: sockets of Node's take as long to load as a short command to run

  async forward(target: number | string, options: ForwardOptions = {}): Promise<Forward> {
    const { forward } = await import("../agent/forward/forward.ts");
    await whileItRuns(this, () => this.ready);
    return forward(this.vsockSocket(AGENT_PORT).path, target, options, this.exited);
  }

  async expose(service: number | string, options: ExposeOptions = {}): Promise<Exposure> {
    const { expose } = await import("../agent/forward/expose.ts");
    await whileItRuns(this, () => this.ready);
    return expose(this.vsockSocket(AGENT_PORT).path, service, options, this.exited);
  }

  async changes(): Promise<Change[]> {
    return this.#changes.list();
  }

  async diff(paths?: readonly string[], options?: DiffOptions): Promise<string> {
    return this.#changes.diff(paths, options);
  }

  async apply(paths?: readonly string[], options?: ApplyOptions): Promise<ApplyResult> {
    return this.#changes.apply(paths, options);
  }

  async discard(paths?: readonly string[]): Promise<Change[]> {
    return this.#changes.discard(paths);
  }

  get #changes(): StagedChanges {
    if (this.#staged !== undefined) return this.#staged;
    throw new CapsaError("NO_CHANGES_KEPT", `sandbox ${this.name} has no share with mode "transaction"`);
  }

  events(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<SandboxEvent, void, void> {
    return this.#happened.read(options.signal);
  }

  async shareUse(): Promise<ShareUse[]> {
    if (this.#shares.every(({ mode }) => mode === "transaction")) return [];
    const use = await this.#machine.use();
    return this.#shares.flatMap(({ guest }, index) => {
      const its = use.find(({ root }) => root === shareRoot(index));
      if (its === undefined) return [];
      const { used, written, more } = its;
      return [{ guest, used, written, entries: its.entries.map(shownName).sort(), more }];
    });
  }

  async confinement(): Promise<Confinement> {
    return confinementOf(await this.#machine.request("status"));
  }

  async metrics(): Promise<SandboxMetrics> {
    const { metricsOf } = await import("./metrics.ts");
    const status = await this.#machine.request("status");
    const current = status.state === "running" ? await this.#currentMemory() : undefined;
    return metricsOf({ ...status, current }, this.pid, this.vsockSocket(AGENT_PORT).path);
  }

  /** Undefined where there is no balloon. */
  async #currentMemory(): Promise<unknown> {
    try {
      return (await this.#machine.request("memory")).memory;
    } catch (error) {
      if (error instanceof VmmError && error.code === "ENODEV") return undefined;
      throw error;
    }
  }

  async setMemory(size: number | string, options: SetMemoryOptions = {}): Promise<number> {
    const { memorySize, setMemory } = await import("./memory.ts");
    return setMemory((op, fields) => this.#machine.request(op, fields), memorySize(size), options);
  }

  async wait(): Promise<number> {
    const { exitCode, signal, failure, reason } = await this.exited;
    if (exitCode !== null || signal !== null) return shellStatus({ exitCode, signal });
    const how = failure?.message ?? `the sandbox ended (${reason}) before its main process did`;
    throw new VmmError(failure?.code ?? "NO_EXIT_CODE", how);
  }

  async stop(options: { readonly graceMs?: number } = {}): Promise<SandboxExit> {
    const graceMs = options.graceMs ?? GRACE_MS;
    this.#asked = true;
    const limit = AbortSignal.timeout(graceMs + POWER_OFF_MS);
    try {
      await using agent = await connectAgent(this.vsockSocket(AGENT_PORT).path, {
        signal: limit,
        timeoutMs: graceMs + POWER_OFF_MS,
      });
      await agent.shutdown({ graceMs, signal: limit });
      await Promise.race([this.exited, aborted(limit)]);
    } catch (error) {
      // An agent that is not there, or does not obey, is no reason to let the sandbox live
      if (!(error instanceof CapsaError) && !limit.aborted && !isSystemError(error)) throw error;
    }
    const ended = limit.aborted || !this.#machine.isEnding ? undefined : orAfter(this.exited, GRACE_MS);
    return (await ended) ?? this.kill();
  }

  async kill(): Promise<SandboxExit> {
    await this.#machine.kill();
    return this.exited;
  }

  pause(): Promise<void> {
    return this.#machine.pause();
  }

  resume(): Promise<void> {
    return this.#machine.resume();
  }

  /** Somebody has it now: the time of one that was started to wait begins. */
  begin(): void {
    this.#machine.begin();
  }

  ref(): void {
    this.#machine.hold(true);
  }

  unref(): void {
    this.#machine.hold(false);
  }

  async detach(): Promise<void> {
    if (!this.attached) this.#staged?.keep();
    await this.closeAgent();
    await this.#machine.detach();
    await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.attached) await this.detach();
    else await this.kill();
  }
}

const stream = { signal: true, onFailure: true } as const;

guardMethods(SandboxHandle.prototype, {
  forward: named<ForwardOptions>(1, { ...stream, host: true, port: true, path: true }),
  expose: named<ExposeOptions>(1, { ...stream, guestPort: true }),
  stop: named<{ readonly graceMs?: number }>(0, { graceMs: true }),
  diff: named<DiffOptions>(1, { format: true }),
  apply: named<ApplyOptions>(1, { force: true }),
  setMemory: named<SetMemoryOptions>(1, { signal: true, timeoutMs: true }),
  events: named<{ readonly signal?: AbortSignal }>(0, { signal: true }),
});

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

function isSystemError(error: unknown): boolean {
  return typeof (error as NodeJS.ErrnoException).code === "string";
}
