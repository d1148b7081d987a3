/** The calls of an agent on the sandbox itself: one connection, made at the first call and again after a loss. */

import type { Agent, ReadOptions, Watcher, WatchOptions } from "../agent/api.ts";
import { AgentClient } from "../agent/client.ts";
import { guardMethods } from "../errors/edge.ts";

/** What of an agent can be asked of its sandbox; `vm.stop()` is its `shutdown`. */
export interface AgentCalls
  extends Omit<Agent, "version" | "shutdown" | "close" | typeof Symbol.asyncDispose> {
  /**
   * The connection that these calls use: as soon as the agent listens, and again after a loss. It ends with the sandbox.
   * Rejects with `BootError` when the sandbox does not come up, with `SandboxEndedError` when it has ended.
   * @example
   * const agent = await vm.agent();
   * console.log(agent.version);
   */
  agent(): Promise<Agent>;
}

/** Of the client, what is not asked of the agent, and what gives something at once, before there is a connection. */
const OWN: ReadonlySet<string> = new Set<Extract<keyof AgentClient, string> | "constructor">([
  ...(["constructor", "version", "isConnected", "shutdown", "close"] as const),
  ...(["readFileStream", "watch"] as const),
]);

export interface WithAgent extends AgentCalls {}
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: its prototype gets the calls of the interface below
export abstract class WithAgent {
  #client: Promise<AgentClient> | undefined;

  /** A connection, as {@link AgentCalls.agent} has it. */
  protected abstract connect(): Promise<AgentClient>;

  async agent(): Promise<Agent> {
    for (;;) {
      this.#client ??= this.connect();
      const asked = this.#client;
      try {
        const client = await asked;
        if (client.isConnected) return client;
      } catch (error) {
        if (this.#client === asked) this.#client = undefined;
        throw error;
      }
      if (this.#client === asked) this.#client = undefined;
    }
  }

  /** Close the connection, if there is one. */
  protected async closeAgent(): Promise<void> {
    await (await this.#client?.catch(() => undefined))?.close();
  }

  readFileStream(path: string, options?: ReadOptions): ReadableStream<Uint8Array> {
    let source: AsyncIterator<Uint8Array> | undefined;
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          source ??= (await this.agent()).readFileStream(path, options)[Symbol.asyncIterator]();
          const { value, done } = await source.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        cancel: async () => void (await source?.return?.()),
      },
      { highWaterMark: 0 },
    );
  }

  watch(path: string, options?: WatchOptions): Watcher {
    const watcher = this.agent().then((agent) => agent.watch(path, options));
    const ready = watcher.then((it) => it.ready);
    ready.catch(() => {}); // whoever waits for it is told; nobody has to
    const end = () => watcher.then((it) => it.return());
    return {
      ready,
      next: () => watcher.then((it) => it.next()),
      return: end,
      [Symbol.asyncIterator]() {
        return this;
      },
      [Symbol.asyncDispose]: () => end().then(() => {}),
    } as Watcher & AsyncIterator<never>;
  }
}

for (const name of Object.getOwnPropertyNames(AgentClient.prototype).filter((key) => !OWN.has(key)))
  Object.defineProperty(WithAgent.prototype, name, {
    value: async function (this: WithAgent, ...args: unknown[]): Promise<unknown> {
      const agent = await this.agent();
      return (Reflect.get(agent, name) as (...args: unknown[]) => Promise<unknown>).apply(agent, args);
    },
    writable: true,
    configurable: true,
  });

guardMethods(WithAgent.prototype);
