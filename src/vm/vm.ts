/** A raw VM: its one life, from what it is to be to what is left of it. */

import type { Socket } from "node:net";
import { guardMethods } from "../errors/edge.ts";
import { VmmError } from "../errors/errors.ts";
import { identityOf } from "../host/hold.ts";
import { orAfter } from "../host/or_after.ts";
import { launch } from "../machine/launch.ts";
import { checkPort, Machine } from "../machine/machine.ts";
import type { StartOptions, VsockPort } from "../sandbox/api.ts";
import { oneOf as chosen, uint } from "../wire/fields.ts";
import type { RawVm, VmExit, VmOptions, VmStatus, VsockListener } from "./api.ts";
import { SerialConsole } from "./console.ts";
import { listenForGuest } from "./listen.ts";
import { specOf } from "./options.ts";
import { vmConfig } from "./plan.ts";
import type { VmSpec } from "./spec.ts";
import { validateVm } from "./validate.ts";

const GRACE_MS = 10_000;

export class Vm implements RawVm {
  readonly name: string;
  readonly console = new SerialConsole();
  readonly #spec: VmSpec;
  readonly #abort = new AbortController();
  readonly #listeners: VsockListener[] = [];
  #start: Promise<void> | undefined;
  #machine: Machine | undefined;
  #exit: VmExit | undefined;

  /** Throws `SpecError` for options that there are not. */
  constructor(options: VmOptions) {
    this.#spec = specOf(options);
    this.name = this.#spec.name;
  }

  start(options: Pick<StartOptions, "signal" | "onNotice"> = {}): Promise<void> {
    if (this.#start !== undefined) {
      const message = `VM ${this.name} was started before; a VM can start only once`;
      return Promise.reject(new VmmError("ALREADY_STARTED", message));
    }
    this.#start = this.#launch(options);
    return this.#start;
  }

  async #launch(options: Pick<StartOptions, "signal" | "onNotice">): Promise<void> {
    const signals = [this.#abort.signal, ...(options.signal === undefined ? [] : [options.signal])];
    const signal = AbortSignal.any(signals);
    signal.throwIfAborted();
    validateVm(this.#spec);
    this.#machine = await launch(
      { name: this.name },
      this.#spec.engine,
      { ...options, signal },
      (place, choice) => {
        const { kernel, initrd, disks } = this.#spec;
        const paths = [kernel, initrd, ...disks.map(({ path }) => path)].flatMap((path) => path ?? []);
        const identities = new Map(paths.map((path) => [path, identityOf(path)]));
        return vmConfig(this.#spec, choice, place.runtimeDir, identities);
      },
      async (identity, control) => {
        const onConsole = (data: Uint8Array) => this.console.show(data);
        const machine = await Machine.open(identity, { fd: control }, { onConsole });
        this.console.connect(machine);
        machine.exited.then(({ reason, failure }) => {
          const ended = reason === "detached" || reason === "expired" ? "failed" : reason; // neither is of raw VMs
          this.#exit = { reason: ended, ...(failure && { failure }) };
          this.console.end(`the VM ended (${failure?.message ?? reason})`);
          for (const listener of this.#listeners) void listener.close();
        });
        return machine;
      },
    );
  }

  #running(): Machine {
    if (this.#machine !== undefined) return this.#machine;
    throw new VmmError("NOT_STARTED", `VM ${this.name} is not running: call start() and wait for it first`);
  }

  async wait(): Promise<VmExit> {
    await this.#running().exited;
    return this.#exit!;
  }

  async stop(options: { readonly command?: string; readonly graceMs?: number } = {}): Promise<VmExit> {
    const { command, graceMs = GRACE_MS } = options;
    const machine = this.#running();
    if (command !== undefined && this.#exit === undefined) {
      await this.console.writeLine(command).catch(() => {}); // one that does not listen is ended all the same
      await orAfter(machine.exited, graceMs);
    }
    return this.kill();
  }

  async kill(): Promise<VmExit> {
    await this.#running().kill();
    return this.wait();
  }

  async status(): Promise<VmStatus> {
    const { cpus, memoryMb } = this.#spec;
    const { engine, pid } = this.#machine?.identity ?? {};
    const still = { name: this.name, engine, pid: undefined, uptimeMs: 0, cpus, memoryMb };
    if (this.#exit !== undefined) return { ...still, state: "ended" };
    if (this.#machine === undefined)
      return { ...still, state: this.#start === undefined ? "created" : "starting" };
    const told = await this.#machine.request("status");
    const state = chosen(told, "state", ["starting", "running", "paused", "ending"]);
    return { ...still, pid, state, uptimeMs: uint(told, "uptimeNs") / 1e6 };
  }

  async pause(): Promise<void> {
    await this.#running().pause();
  }

  async resume(): Promise<void> {
    await this.#running().resume();
  }

  vsockSocket(port: number): VsockPort {
    const { path, opened } = this.#running().vsockSocket(port);
    return { port, path, opened, toString: () => path };
  }

  async vsockListen(port: number, onConnection: (stream: Socket) => void): Promise<VsockListener> {
    checkPort(port);
    const { runtimeDir } = this.#running().identity;
    if (!this.#spec.vsock) throw new VmmError("ENODEV", `VM ${this.name} has no vsock device`);
    const listener = await listenForGuest(runtimeDir, port, onConnection);
    this.#listeners.push(listener);
    return listener;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#start?.catch(() => {});
    if (this.#machine !== undefined) await this.kill();
  }
}

guardMethods(Vm.prototype);
