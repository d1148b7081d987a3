/** A running sandbox: what its VMM and its guest tell, made into promises and streams, and the requests to it. */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { connectAgent } from "../agent/client.ts";
import { uint } from "../agent/fields.ts";
import { signalNumber } from "../agent/signals.ts";
import { Control, type VmmEvent } from "../engine/control.ts";
import { reapVmm } from "../engine/library.ts";
import { CapsaError, VmmError } from "../errors.ts";
import type { BootTimings, RunningSandbox, SandboxEntry, SandboxExit, VsockSocket } from "./api.ts";
import { Boot } from "./boot.ts";
import { type GuestEvent, GuestEvents } from "./events.ts";
import { readEventLog } from "./log.ts";
import { AGENT_PORT } from "./plan.ts";
import { LastText, Tail } from "./tail.ts";

const CONSOLE_TAIL = 16_384;
const GRACE_MS = 5000;
/** For a guest to sync and power off, beyond its main process's grace. */
const POWER_OFF_MS = 2000;
/** For a VMM to end and tidy up once it was told to, before it is killed. */
const VMM_END_MS = 5000;
const REAP_MS = 2000;

export interface Identity {
  readonly id: string;
  readonly name: string;
  readonly engine: "kvm" | "qemu";
  readonly pid: number;
  readonly runtimeDir: string;
  readonly attached: boolean;
}

interface MainExit {
  readonly exitCode: number | null;
  readonly signal: string | null;
}

export class SandboxHandle implements RunningSandbox {
  readonly id: string;
  readonly name: string;
  readonly engine: "kvm" | "qemu";
  readonly pid: number;
  readonly runtimeDir: string;
  readonly attached: boolean;
  readonly exited: Promise<SandboxExit>;
  /** The vCPUs run; rejects with `BootError`. */
  readonly started: Promise<void>;
  readonly boot: Boot;

  #control!: Control;
  readonly #settleExit: (exit: SandboxExit) => void;
  readonly #settleStart: { resolve: () => void; reject: (error: unknown) => void };
  readonly #output = { stdout: new Tail(), stderr: new Tail(), console: new Tail() };
  readonly #lastConsole = new LastText(CONSOLE_TAIL);
  readonly #open = new Map<number, Promise<void>>([[AGENT_PORT, Promise.resolve()]]);
  /** Undefined once the guest's stream turned out not to be one. */
  #events: GuestEvents | undefined = new GuestEvents();
  /** Set while an attached one reads what came before: what comes meanwhile waits. */
  #early: Uint8Array[] | undefined;
  #main: MainExit | undefined;
  #failure: { code: string; message: string } | undefined;
  #vmmReason: "shutdown" | "stopped" | "failed" | undefined;
  #asked = false; // to shut down, by us
  #leaving = false; // the connection, not the sandbox

  private constructor(identity: Identity, began: number) {
    ({
      id: this.id,
      name: this.name,
      engine: this.engine,
      pid: this.pid,
      runtimeDir: this.runtimeDir,
      attached: this.attached,
    } = identity);
    this.boot = new Boot(began, () => this.consoleTail());
    const exit = Promise.withResolvers<SandboxExit>();
    this.exited = exit.promise;
    this.#settleExit = exit.resolve;
    const { promise, ...settle } = Promise.withResolvers<void>();
    this.started = promise;
    this.started.catch(() => {});
    this.#settleStart = settle;
  }

  /** Take over a VMM that was just started, by its control channel. */
  static async adopt(identity: Identity, control: number, began: number): Promise<SandboxHandle> {
    const handle = new SandboxHandle(identity, began);
    await handle.#connect({ fd: control });
    return handle;
  }

  /** Follow a VMM that another process started. Rejects with `VmmError` when it has just ended. */
  static async attach(entry: SandboxEntry): Promise<SandboxHandle> {
    const { id, name, engine, pid, runtimeDir } = entry;
    const handle = new SandboxHandle(
      { id, name, engine, pid, runtimeDir, attached: true },
      performance.now() - Math.max(0, Date.now() - entry.created.getTime()),
    );
    handle.#early = [];
    try {
      await handle.#connect({ unix: join(runtimeDir, "control.sock") });
    } catch (cause) {
      throw new VmmError("VMM_GONE", `sandbox ${name} cannot be reached by its control socket`, { cause });
    }
    const status = await handle.#control.request("status", { follow: true });
    await handle.#catchUp(uint(status, "eventsLog"));
    return handle;
  }

  async #connect(target: { fd: number } | { unix: string }): Promise<void> {
    this.#control = await Control.open(target, {
      onEvent: (event) => this.#onVmm(event),
      onClose: () => void this.#finish(),
    });
  }

  async #catchUp(logged: number): Promise<void> {
    const past = await readEventLog(this.runtimeDir, logged);
    if (past.moments !== undefined) this.boot.succeed(past.moments);
    if (past.exit?.failure !== undefined) this.#failure = past.exit.failure;
    else if (past.exit !== undefined) this.#main = past.exit;
    this.#events = past.rest;
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const data of early) this.#onGuestData(data);
  }

  // ---- what is told ----

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
    return this.#output.console.stream;
  }

  get dropped(): RunningSandbox["dropped"] {
    const { stdout, stderr, console } = this.#output;
    return { stdout: stdout.dropped, stderr: stderr.dropped, console: console.dropped };
  }

  consoleTail(): string {
    // Lines as lines; what a terminal would obey is left out
    return this.#lastConsole.toString().replaceAll(/[^\P{Cc}\n\t]/gu, "");
  }

  #onVmm(event: VmmEvent): void {
    switch (event.event) {
      case "started":
        this.boot.started();
        this.#settleStart.resolve();
        break;
      case "guest":
        if (this.#early === undefined) this.#onGuestData(event.data);
        else this.#early.push(event.data);
        break;
      case "console":
        this.#lastConsole.add(event.data);
        this.#output.console.push(event.data);
        break;
      case "failed":
        this.#failure ??= { code: event.code, message: event.message };
        break;
      case "exited":
        this.#vmmReason = event.reason;
        break;
    }
  }

  #onGuestData(data: Uint8Array): void {
    if (this.#events === undefined) return;
    try {
      for (const event of this.#events.push(data)) this.#onGuest(event);
    } catch (error) {
      // A guest that does not keep to the protocol harms itself alone: it is heard no more
      this.#events = undefined;
      const message = `its event stream broke: ${(error as Error).message}`;
      this.#failure ??= { code: "EPROTO", message };
      this.boot.fail("EPROTO", message);
    }
  }

  #onGuest(event: GuestEvent): void {
    switch (event.ev) {
      case "ready":
        this.boot.succeed(event.moments);
        break;
      case "main-started":
        break;
      case "main-stdout":
        this.#output.stdout.push(event.data);
        break;
      case "main-stderr":
        this.#output.stderr.push(event.data);
        break;
      case "main-exit":
        this.#main ??= { exitCode: event.exitCode, signal: event.signal };
        break;
      case "boot-failed":
        this.#failure ??= { code: event.code, message: event.message };
        this.boot.fail(event.code, event.message);
        break;
    }
  }

  /** The control channel has closed: after "exited", or because VMM or connection are gone. */
  async #finish(): Promise<void> {
    const exit = this.#exit();
    if (exit.reason !== "detached" && !this.attached) {
      await this.#reap();
      // The VMM's keeper has done this, unless it was killed as well
      rmSync(this.runtimeDir, { recursive: true, force: true });
    }
    const why = exit.failure ?? { code: "BOOT_FAILED", message: "the sandbox ended before it was ready" };
    this.boot.fail(why.code, why.message);
    this.boot.ready.then(
      () => this.#settleStart.reject(new VmmError("VMM_GONE", "the sandbox has ended")),
      (error) => this.#settleStart.reject(error),
    );
    for (const tail of Object.values(this.#output)) tail.end();
    this.#settleExit(exit);
  }

  #exit(): SandboxExit {
    const main = this.#main ?? { exitCode: null, signal: null };
    if (this.#vmmReason === undefined) {
      if (this.#leaving) return { ...main, reason: "detached" };
      const gone = {
        code: "VMM_GONE",
        message: "the VMM ended without a word: it was killed, or it crashed",
      };
      return { ...main, reason: "failed", failure: this.#failure ?? gone };
    }
    if (this.#failure !== undefined) return { ...main, reason: "failed", failure: this.#failure };
    if (this.#vmmReason !== "shutdown") return { ...main, reason: this.#vmmReason };
    return { ...main, reason: this.#main === undefined || this.#asked ? "shutdown" : "main" };
  }

  async #reap(): Promise<void> {
    const deadline = performance.now() + REAP_MS;
    while (!reapVmm(this.pid) && performance.now() < deadline) await Bun.sleep(2);
  }

  // ---- what is asked ----

  vsockSocket(port: number): VsockSocket {
    if (!Number.isInteger(port) || port < 1 || port > 0xffff_fffe) {
      throw new TypeError(`a vsock port is a whole number from 1 to 4294967294, not ${port}`);
    }
    let opened = this.#open.get(port);
    if (opened === undefined) {
      opened = this.#control.request("listen", { port }).then(() => {});
      opened.catch(() => this.#open.delete(port));
      this.#open.set(port, opened);
    }
    const path = join(this.runtimeDir, "vsock", `${port}.sock`);
    return { port, path, vm: this, opened, toString: () => path };
  }

  async wait(): Promise<number> {
    const { exitCode, signal, failure, reason } = await this.exited;
    if (exitCode !== null) return exitCode;
    if (signal !== null) return 128 + signalNumber(signal);
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
    return limit.aborted || this.#vmmReason === undefined ? this.kill() : this.exited;
  }

  async kill(): Promise<SandboxExit> {
    const stopping = this.#control.request("stop").catch(() => {});
    const ended = await Promise.race([this.exited, stopping.then(() => Bun.sleep(VMM_END_MS))]);
    if (ended === undefined) {
      try {
        process.kill(this.pid, "SIGKILL");
      } catch {
        // it has ended just now
      }
    }
    return this.exited;
  }

  async pause(): Promise<void> {
    await this.#control.request("pause");
  }

  async resume(): Promise<void> {
    await this.#control.request("resume");
  }

  async detach(): Promise<void> {
    if (!this.attached) await this.#control.request("detach");
    this.#leaving = true;
    this.#control.close();
    await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.attached) await this.detach();
    else await this.kill();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

function isSystemError(error: unknown): boolean {
  return typeof (error as NodeJS.ErrnoException).code === "string";
}
