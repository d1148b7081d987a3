/** A machine that runs: what its VMM tells, made into promises and a stream, and the requests to it. */

import type { EngineName } from "../engine/engines.ts";
import { reapVmm, signalProcess } from "../engine/library.ts";
import { ArgumentError, BootError, type Notice } from "../errors/errors.ts";
import { replaceHidden } from "../errors/printable.ts";
import { clearAway, guestSocket } from "../host/directories.ts";
import { orAfter } from "../host/or_after.ts";
import type { NetworkAccess, NetworkRefusal, PublishedPort } from "../network/spec.ts";
import { Control } from "../wire/control.ts";
import type { Message } from "../wire/framing.ts";
import { Collector, Tail } from "../wire/streams.ts";
import { type EndReason, type RootUse, readEvent, readUse, type VmmEvent } from "./events.ts";

const CONSOLE_TAIL = 16_384;
/** For a VMM to end and tidy up once it was told to, before it is told otherwise. */
const VMM_END_MS = 5000;
const REAP_MS = 2000;

export interface Identity {
  readonly id: string;
  readonly name: string;
  readonly engine: EngineName;
  /** Process id of the VMM. */
  readonly pid: number;
  /** Of that process: by this it is told from a later one with its number, see `ProcessIdentity`. */
  readonly start: string;
  readonly runtimeDir: string;
  /** Started by another process, which collects it and tidies up. */
  readonly attached: boolean;
}

/** Told as it comes; nothing is kept for who listens later. */
interface MachineListener {
  onStarted?(ports: readonly PublishedPort[]): void;
  /** By whomever. */
  onPause?(what: "paused" | "resumed"): void;
  /** Something that its network did not let through. */
  onRefusal?(refusal: NetworkRefusal): void;
  /** Something that it let through and tells of. */
  onAccess?(access: NetworkAccess): void;
  /** A line for the user. */
  onNotice?(notice: Notice): void;
  /** Bytes of the guest's event stream. */
  onGuest?(data: Uint8Array): void;
  onConsole?(data: Uint8Array): void;
}

export interface MachineExit {
  /** `detached`: it goes on, and only this connection to it has ended. */
  readonly reason: EndReason | "detached";
  /** What broke, where something did. */
  readonly failure?: { readonly code: string; readonly message: string };
}

export class Machine {
  readonly identity: Identity;
  /** The vCPUs run; rejects with `BootError` when it ended before. */
  readonly started: Promise<void>;
  /** It has ended, is collected, and its runtime directory is gone. Never rejects. */
  readonly exited: Promise<MachineExit>;
  readonly console = new Tail();

  #control!: Control;
  readonly #listener: MachineListener;
  readonly #settleStart: { resolve: () => void; reject: (error: unknown) => void };
  readonly #settleExit: (exit: MachineExit) => void;
  readonly #lastConsole = new Collector(0, CONSOLE_TAIL);
  readonly #open: Map<number, Promise<void>>;
  #failure: { code: string; message: string } | undefined;
  #reason: EndReason | undefined;
  #use: readonly RootUse[] | undefined;
  #leaving = false; // the connection, not the machine

  private constructor(identity: Identity, listener: MachineListener, openPorts: readonly number[]) {
    this.identity = identity;
    this.#listener = listener;
    this.#open = new Map(openPorts.map((port) => [port, Promise.resolve()]));
    const { promise: exited, resolve } = Promise.withResolvers<MachineExit>();
    this.exited = exited;
    this.#settleExit = resolve;
    const { promise: started, ...settle } = Promise.withResolvers<void>();
    this.started = started;
    this.started.catch(() => {}); // whoever waits for it is told; nobody has to
    this.#settleStart = settle;
  }

  /**
   * Take over a VMM by the descriptor that started it, or follow another process's by its control.sock. `openPorts`:
   * the guest's vsock ports that have sockets from the start.
   */
  static async open(
    identity: Identity,
    target: { fd: number } | { unix: string },
    listener: MachineListener,
    openPorts: readonly number[] = [],
  ): Promise<Machine> {
    const machine = new Machine(identity, listener, openPorts);
    machine.#control = await Control.open(target, {
      onEvent: (message) => machine.#onEvent(readEvent(message)),
      onClose: () => void machine.#finish(),
    });
    return machine;
  }

  // ---- what is told ----

  /** The last 16 KiB of the console: lines as lines; what a terminal would obey is left out. */
  consoleTail(): string {
    const text = new TextDecoder().decode(this.#lastConsole.bytes());
    return replaceHidden(text, (char) => (char === "\n" || char === "\t" ? char : ""));
  }

  /** It has said why it ends. */
  get isEnding(): boolean {
    return this.#reason !== undefined;
  }

  /** Something of it broke: the first cause is the one to tell. */
  blame(failure: { readonly code: string; readonly message: string }): void {
    this.#failure ??= failure;
  }

  #onEvent(event: VmmEvent): void {
    switch (event.event) {
      case "started":
        this.#listener.onStarted?.(event.ports);
        this.#settleStart.resolve();
        break;
      case "paused":
      case "resumed":
        this.#listener.onPause?.(event.event);
        break;
      case "guest":
        this.#listener.onGuest?.(event.data);
        break;
      case "console":
        this.#lastConsole.add(event.data);
        this.console.push(event.data);
        this.#listener.onConsole?.(event.data);
        break;
      case "network":
        this.#listener.onRefusal?.(event.refusal);
        break;
      case "access":
        this.#listener.onAccess?.(event.access);
        break;
      case "notice":
        this.#listener.onNotice?.({ code: event.code, message: event.message });
        break;
      case "failed":
        this.blame({ code: event.code, message: event.message });
        break;
      case "exited":
        this.#reason = event.reason;
        this.#use = event.use;
        break;
    }
  }

  /** The control channel has closed: after "exited", or because VMM or connection are gone. */
  async #finish(): Promise<void> {
    const exit = this.#exit();
    if (exit.reason !== "detached" && !this.identity.attached) {
      await this.#reap();
      // The VMM's keeper has done this, unless it was killed as well
      clearAway(this.identity.runtimeDir);
    }
    this.console.end();
    this.#settleExit(exit);
    const { code, message } = exit.failure ?? {
      code: "BOOT_FAILED",
      message: "the machine ended at its start",
    };
    this.#settleStart.reject(new BootError(code, message, { consoleTail: this.consoleTail() }));
  }

  #exit(): MachineExit {
    if (this.#reason === undefined) {
      if (this.#leaving) return { reason: "detached" };
      this.blame({ code: "VMM_GONE", message: "the VMM ended without a word: it was killed, or it crashed" });
    }
    if (this.#failure !== undefined) return { reason: "failed", failure: this.#failure };
    return { reason: this.#reason ?? "failed" };
  }

  async #reap(): Promise<void> {
    const deadline = performance.now() + REAP_MS;
    while (!reapVmm(this.identity.pid) && performance.now() < deadline) await Bun.sleep(2);
  }

  // ---- what is asked ----

  /** A request of ffi/vmm.cddl. Rejects with `VmmError`. */
  request(op: string, fields: Message = {}): Promise<Message> {
    return this.#control.request(op, fields);
  }

  /**
   * What the guest has done with each root of its file system device so far or, once it has ended, until then. Rejects
   * with `VmmError` where it ended without a word.
   */
  async use(): Promise<readonly RootUse[]> {
    if (this.#use === undefined) {
      const asked = this.request("status").then(readUse);
      return asked.catch((error) => this.#use ?? Promise.reject(error)); // it may have ended meanwhile
    }
    return this.#use;
  }

  /** The Unix socket of a guest's port, which the call opens. Throws `ArgumentError` for what is no port. */
  vsockSocket(port: number): { readonly path: string; readonly opened: Promise<void> } {
    checkPort(port);
    let opened = this.#open.get(port);
    if (opened === undefined) {
      opened = this.#control.request("listen", { port }).then(() => {});
      opened.catch(() => this.#open.delete(port));
      this.#open.set(port, opened);
    }
    return { path: guestSocket(this.identity.runtimeDir, port), opened };
  }

  async kill(): Promise<MachineExit> {
    this.#control.request("stop").catch(() => {});
    // Its first process, the keeper, ends one that does not obey, and has to live for that
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const exit = await orAfter(this.exited, VMM_END_MS);
      if (exit !== undefined) return exit;
      signalProcess(this.identity, signal);
    }
    return this.exited;
  }

  async pause(): Promise<void> {
    await this.#control.request("pause");
  }

  async resume(): Promise<void> {
    await this.#control.request("resume");
  }

  /** Told to its keeper: a VMM that was taken over would keep it to itself. */
  begin(): void {
    signalProcess(this.identity, "SIGUSR1");
  }

  /** Whether the program goes on for as long as this runs; it does from the start. */
  hold(program: boolean): void {
    this.#control.hold(program);
  }

  async detach(): Promise<void> {
    if (!this.identity.attached) await this.#control.request("detach");
    this.#leaving = true;
    this.#control.close();
    await this.exited;
  }
}

/** Throws `ArgumentError` for what is no vsock port. */
export function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 1 || port > 0xffff_fffe) {
    throw new ArgumentError(`a vsock port must be a whole number from 1 to 4294967294, not ${port}`);
  }
}
