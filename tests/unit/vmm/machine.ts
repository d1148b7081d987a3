/** A VMM driven by its C interface alone, as bare as ffi/vmm.cddl describes it: what the tests of this folder share. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { reapVmm, startVmm } from "../../../src/engine/library.ts";
import { initramfsPath, kernelPath, qemuPath, vmmPath } from "../../../src/host/installation.ts";
import { cpio } from "../../../src/image/cpio.ts";
import { encodeCbor, encodeFrame, FrameDecoder, type Message } from "../../../src/wire/framing.ts";
import { FrameSocket } from "../../../src/wire/socket.ts";

export const AGENT_PORT = 52;
const EVENTS_PORT = 53;
const MIB = 1 << 20;

export type Event = Message & { readonly event: string };

/** One control channel: requests with replies, and events as they come. */
export class Channel {
  readonly events: Event[] = [];
  closed = false;
  #socket!: FrameSocket;
  #replies = new Map<unknown, Message>();
  #nextId = 1;
  #changed = Promise.withResolvers<void>();

  static async to(unix: string): Promise<Channel> {
    const self = new Channel();
    await self.connect({ unix });
    return self;
  }

  async connect(target: { fd: number } | { unix: string }): Promise<void> {
    this.#socket = await FrameSocket.connect(target, {
      onFrame: (message) => {
        if ("event" in message) this.events.push(message as Event);
        else this.#replies.set(message.reply, message);
        this.#wake();
      },
      onClose: () => {
        this.closed = true;
        this.#wake();
      },
    });
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Wait until `found` gives something, or the channel ends, or time is up: then it throws with all that came. */
  async #until<T>(what: string, found: () => T | undefined, ms: number): Promise<T> {
    const late = Date.now() + ms;
    for (;;) {
      const value = found();
      if (value !== undefined) return value;
      const left = late - Date.now();
      const log = () => this.events.map((e) => (e.data ? e.event : JSON.stringify(e))).join(" ");
      if (this.closed) throw new Error(`the channel closed while waiting for ${what}: ${log()}`);
      if (left <= 0) throw new Error(`no ${what} within ${ms} ms: ${log()}`);
      await Promise.race([this.#changed.promise, Bun.sleep(left)]);
    }
  }

  event(name: string, ms = 20_000): Promise<Event> {
    return this.#until(`event ${name}`, () => this.events.find((e) => e.event === name), ms);
  }

  send(frame: Uint8Array): void {
    this.#socket.send(frame);
  }

  /** The reply, an error or not. */
  request(op: string, fields: Message = {}, ms = 10_000): Promise<Message> {
    const id = this.#nextId++;
    this.send(encodeFrame({ id, op, ...fields }));
    return this.reply(id, ms);
  }

  reply(id: number, ms = 10_000): Promise<Message> {
    return this.#until(`reply ${id}`, () => this.#replies.get(id), ms);
  }

  close(): void {
    this.#socket.close();
  }

  /** What the guest's event stream has said so far, as messages. */
  guest(): Message[] {
    const decoder = new FrameDecoder();
    const said: Message[] = [];
    for (const { event, data } of this.events)
      if (event === "guest") for (const [message] of decoder.push(data as Uint8Array)) said.push(message);
    return said;
  }

  ready(ms = 20_000): Promise<Message> {
    return this.#until("ready", () => this.guest().find((m) => m.ev === "ready"), ms);
  }
}

export interface Processes {
  readonly keeper: number;
  readonly vmm: number;
  readonly qemu: number;
  readonly janitor: number;
}

export class Machine extends Channel {
  readonly pid: number;
  readonly runtimeDir: string;

  constructor(pid: number, runtimeDir: string) {
    super();
    this.pid = pid;
    this.runtimeDir = runtimeDir;
  }

  /** Start a VMM; `change` replaces parts of a configuration that boots. */
  static async start(change: Message = {}, plan: Message = {}): Promise<Machine> {
    const { runtimeDir, config } = await makeConfig(change, plan);
    const { pid, control } = startVmm(vmmPath(), config);
    const self = new Machine(pid, runtimeDir);
    await self.connect({ fd: control });
    return self;
  }

  async status(): Promise<Message> {
    return (await this.request("status")).result as Message;
  }

  async processes(): Promise<Processes> {
    const { keeper, vmm } = (await this.status()).pids as { keeper: number; vmm: number };
    const child = (name: RegExp) => childrenOf(vmm).find((pid) => name.test(commandOf(pid)))!;
    return { keeper, vmm, qemu: child(/^qemu/), janitor: child(/^capsa-janitor$/) };
  }

  /** Ask for the end and wait until nothing is left of it. */
  async stop(): Promise<void> {
    if (!this.closed) this.send(encodeFrame({ id: 1e6, op: "stop" }));
    await this.gone();
  }

  /** Resolves once the VMM is collected; throws when something of it stays. Returns its last event. */
  async gone(ms = 10_000): Promise<Event | undefined> {
    const late = Date.now() + ms;
    while (!(reapVmm(this.pid) && this.closed)) {
      if (Date.now() > late) throw new Error(`VMM ${this.pid} is still there after ${ms} ms`);
      await Bun.sleep(5);
    }
    if (existsSync(this.runtimeDir))
      throw new Error(`${this.runtimeDir} is left with ${readdirSync(this.runtimeDir)}`);
    return this.events.at(-1);
  }

  /** The agent's answer to one request on a connection of its own. */
  agent(request: Message): Promise<Message> {
    return ask(join(this.runtimeDir, "vmm", `${AGENT_PORT}.sock`), request);
  }
}

/** One request and its answer, on a socket that carries frames. */
export async function ask(unix: string, request: Message): Promise<Message> {
  const answer = Promise.withResolvers<Message>();
  const socket = await FrameSocket.connect(
    { unix },
    { onFrame: answer.resolve, onClose: () => answer.reject(new Error(`${unix} closed without an answer`)) },
  );
  socket.send(encodeFrame(request));
  try {
    return await answer.promise;
  } finally {
    socket.close();
  }
}

/** A configuration that boots capsa's own guest with a main process that sleeps, in a runtime directory just made. */
export async function makeConfig(
  change: Message = {},
  plan: Message = {},
): Promise<{ runtimeDir: string; config: Uint8Array }> {
  const runtimeDir = mkdtempSync(join(tmpdir(), "capsa-vmm-"));
  const initrd = join(runtimeDir, "initrd.cpio");
  const wholePlan = {
    version: 1,
    hostname: "unit",
    agentPort: AGENT_PORT,
    eventsPort: EVENTS_PORT,
    mounts: [],
    main: { argv: ["/bin/sleep", "1000"] },
    ...plan,
  };
  const addition = cpio([
    { path: "capsa", mode: 0o040755 },
    { path: "capsa/plan.cbor", mode: 0o100600, data: encodeCbor(wholePlan) },
  ]);
  const base = readFileSync(initramfsPath());
  writeFileSync(initrd, Buffer.concat([base, new Uint8Array((4 - (base.length % 4)) % 4), addition]));
  const config = encodeCbor({
    version: 1,
    name: "unit",
    engine: "qemu",
    kernel: await kernelPath(),
    initrd,
    cmdline: "console=hvc0 quiet",
    cpus: 1,
    memory: 128 * MIB,
    runtimeDir,
    detached: false,
    vsock: { cid: 3, ports: [AGENT_PORT] },
    rng: true,
    console: true,
    eventsPort: EVENTS_PORT,
    qemu: { path: qemuPath() },
    confine: process.env.CAPSA_TEST_CONFINE ?? "auto",
    ...change,
  });
  return { runtimeDir, config };
}

/** A directory that is gone with the test. */
export function scratch(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), "capsa-scratch-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** State letter and parent of a process, undefined when there is none. */
function stat(pid: number): { state: string; parent: number } | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return { state: fields[0]!, parent: Number(fields[1]) };
  } catch {
    return undefined;
  }
}

export function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => stat(child)?.parent === pid);
}

/** Whether the process runs: one that waits to be collected does not. */
export function alive(pid: number): boolean {
  const now = stat(pid);
  return now !== undefined && now.state !== "Z" && now.state !== "X";
}

/** Milliseconds until none of the processes runs and the directory is gone; throws after `limit`. */
export async function untilGone(pids: readonly number[], directory: string, limit: number): Promise<number> {
  const began = performance.now();
  for (;;) {
    const left = pids.filter(alive);
    const took = performance.now() - began;
    if (left.length === 0 && !existsSync(directory)) return took;
    if (took > limit)
      throw new Error(
        `after ${took.toFixed()} ms: processes ${left.map((pid) => `${pid} ${commandOf(pid)}`)}, directory ${existsSync(directory)}`,
      );
    await Bun.sleep(5);
  }
}

export function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
}
