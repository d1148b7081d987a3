/** The sandboxes of one server, which end with it: as many as its operator allows, and nobody else's. */

import type { Agent } from "../agent/api.ts";
import { CapsaError } from "../errors/errors.ts";
import type { RunningSandbox } from "../sandbox/api.ts";
import { describeExit, describeRefusal } from "../sandbox/describe.ts";
import { madeUpName } from "../sandbox/name.ts";
import { agentPort, waitReadyTimeout } from "../sandbox/ready.ts";
import { startSandbox } from "../sandbox/start.ts";
import type { SandboxSpec } from "../spec/spec.ts";

/** Of the sandboxes that have ended, how many are remembered with their reason. */
const REMEMBERED = 50;
/** Of what a network refused, how much is kept for the next answer. */
const REFUSALS = 10;
const STOP_GRACE_MS = 2000;

export interface OwnSandbox {
  readonly spec: SandboxSpec;
  /** Name of what the operator described. */
  readonly kind: string;
  readonly created: Date;
  readonly vm: RunningSandbox;
  readonly agent: Agent;
  /** What its network refused since the last call. */
  takeRefusals(): string[];
}

export class Sandboxes implements AsyncDisposable {
  readonly #most: number;
  readonly #tell: (line: string) => void;
  readonly #running = new Map<string, OwnSandbox>();
  readonly #starting = new Set<Promise<unknown>>();
  readonly #ended = new Map<string, string>();
  readonly #closing = new AbortController();
  /** Of its private networks: those of other servers of the same file are others. */
  readonly #scope = crypto.randomUUID();

  /** `tell`: lines for the operator. */
  constructor(most: number, tell: (line: string) => void) {
    this.#most = most;
    this.#tell = tell;
  }

  /** Rejects with `CapsaError` `TOO_MANY_SANDBOXES`, and with what the start of a sandbox does; then nothing is left. */
  create(spec: SandboxSpec, signal: AbortSignal): Promise<OwnSandbox> {
    const own = named(spec, madeUpName("mcp"), this.#scope);
    const starting = this.#start(own, spec.name, AbortSignal.any([signal, this.#closing.signal]));
    this.#starting.add(starting);
    const done = () => void this.#starting.delete(starting);
    starting.then(done, done);
    return starting;
  }

  async #start(spec: SandboxSpec, kind: string, signal: AbortSignal): Promise<OwnSandbox> {
    signal.throwIfAborted();
    if (this.#running.size + this.#starting.size >= this.#most) {
      const names = [...this.#running.keys()].join(", ");
      throw new CapsaError(
        "TOO_MANY_SANDBOXES",
        `this server allows ${this.#most} sandboxes at a time, and all of them exist: ${names}`,
        { hint: "use one of them, or stop one" },
      );
    }
    const refusals: string[] = [];
    const vm = await startSandbox(spec, {
      signal,
      onNotice: ({ message }) => this.#tell(message),
      onRefusal: (refusal) => {
        const line = describeRefusal(refusal);
        this.#tell(`${spec.name}: network ${line}`);
        if (refusals.length < REFUSALS) refusals.push(line);
      },
    });
    try {
      const agent = await waitReadyTimeout(vm.vsockSocket(agentPort()), spec.bootTimeoutMs, { signal });
      const takeRefusals = () => refusals.splice(0);
      const sandbox = { spec, kind, created: new Date(), vm, agent, takeRefusals };
      this.#running.set(spec.name, sandbox);
      this.#tell(`${spec.name} runs`);
      void vm.exited.then((exit) => this.#forget(spec.name, describeExit(exit)));
      return sandbox;
    } catch (error) {
      await vm.kill();
      throw error;
    }
  }

  #forget(name: string, why: string): void {
    this.#running.delete(name);
    this.#ended.set(name, why);
    for (const [oldest] of this.#ended) if (this.#ended.size > REMEMBERED) this.#ended.delete(oldest);
    this.#tell(`${name} ended: ${why}`);
  }

  list(): OwnSandbox[] {
    return [...this.#running.values()];
  }

  /** Throws `CapsaError` `SANDBOX_ENDED`, `SANDBOX_NOT_FOUND`. */
  get(name: string): OwnSandbox {
    const sandbox = this.#running.get(name);
    if (sandbox !== undefined) return sandbox;
    const why = this.#ended.get(name);
    if (why !== undefined)
      throw new CapsaError("SANDBOX_ENDED", `${name} has ended: ${why}`, { hint: "create another one" });
    const names = [...this.#running.keys()];
    throw new CapsaError("SANDBOX_NOT_FOUND", `this server has no sandbox ${JSON.stringify(name)}`, {
      hint: names.length > 0 ? `it has: ${names.join(", ")}` : "create one first",
    });
  }

  async stop(name: string): Promise<void> {
    const { agent, vm } = this.get(name);
    await vm.stop({ graceMs: STOP_GRACE_MS });
    await agent.close();
  }

  /** All end at once; those that start, too. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new CapsaError("SERVER_CLOSED", "the server ends"));
    await Promise.allSettled(this.#starting);
    await Promise.all(this.list().map(({ vm }) => vm.kill()));
  }
}

/** On its private networks it goes by that name too: several of one kind are on them. */
function named(spec: SandboxSpec, name: string, scope: string): SandboxSpec {
  if (spec.networks === undefined) return { ...spec, name };
  return { ...spec, name, networks: spec.networks.map((network) => ({ ...network, scope, as: name })) };
}
