/** The streams through one opening between host and guest, and the one end of them all. */

import type { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { SpecError } from "../../errors/errors.ts";
import { shown } from "../../errors/printable.ts";
import type { Opening } from "./api.ts";

/** As many as the agent has (guest/protocol.cddl), two sockets each. */
const MOST = 512 * 2;

export class Streams {
  readonly #open = new Set<Socket>();
  readonly #end = new AbortController();
  readonly #closed = Promise.withResolvers<void>();
  readonly #stop: () => void;

  /** `stop` ends what lets streams in. The end comes by `signal`, or with the sandbox. */
  constructor(stop: () => void, signal: AbortSignal | undefined, ended: Promise<unknown>) {
    this.#stop = stop;
    if (signal?.aborted) this.close();
    signal?.addEventListener("abort", () => this.close(), { signal: this.signal });
    void ended.then(() => this.close());
  }

  /** Aborts when it is closed. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** So many are open that who asks for more has to wait: a hostile guest would ask for any number. */
  get full(): boolean {
    return this.#open.size >= MOST;
  }

  /** It ends with this, if not before. */
  hold(socket: Socket): Socket {
    if (this.signal.aborted) socket.destroy();
    if (this.#open.has(socket)) return socket;
    this.#open.add(socket);
    socket.on("error", () => {}); // a peer that breaks off is no affair of this process
    socket.once("close", () => this.#open.delete(socket));
    return socket;
  }

  /** Carry the bytes of each to the other, at the pace of who reads, each way to its own end; what breaks, breaks both. */
  async join(one: Socket, other: Socket): Promise<void> {
    for (const socket of [one, other]) this.hold(socket).setNoDelay(true);
    const ways = await Promise.allSettled([pipeline(one, other), pipeline(other, one)]);
    if (ways.some(({ status }) => status === "rejected")) for (const socket of [one, other]) socket.destroy();
  }

  close(): void {
    if (this.signal.aborted) return;
    this.#end.abort();
    this.#stop();
    for (const socket of this.#open) socket.destroy();
    this.#closed.resolve();
  }

  /** What the holder of the opening has in hand. */
  handle(): Opening {
    const close = async () => this.close();
    return { closed: this.#closed.promise, close, [Symbol.asyncDispose]: close };
  }
}

/** The port itself. Throws {@link SpecError} for what is none from `least` (1) to 65535. */
export function checkPort(field: string, port: number, least = 1): number {
  if (Number.isInteger(port) && port >= least && port <= 65_535) return port;
  throw new SpecError(field, `it should be a port from ${least} to 65535, not ${shown(port)}`);
}
