/** A stream socket that carries frames: whole messages in, partial writes out of sight. */

import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { VmmError } from "../errors/errors.ts";
import { O_PATH } from "../host/libc.ts";
import { FrameDecoder, type Message } from "./framing.ts";

interface FrameHandler {
  /** One message, and the length of its body. A throw ends the connection with that error. */
  onFrame(message: Message, length: number): void;
  /** The connection has ended: told once, with what went wrong, if anything did. */
  onClose(error: Error | undefined): void;
}

type Raw = Bun.Socket<undefined>;

export class FrameSocket {
  readonly #handler: FrameHandler;
  readonly #decoder = new FrameDecoder();
  #raw: Raw | undefined;
  /** What the kernel has not taken yet, in order. */
  #queue: Uint8Array[] = [];
  #closed = false;

  private constructor(handler: FrameHandler) {
    this.#handler = handler;
  }

  /**
   * Rejects with the system's error (`ENOENT`, `ECONNREFUSED`), or as {@link withSocket} does; `handler` is then never
   * called.
   */
  static async connect(
    target: { unix: string } | { fd: number },
    handler: FrameHandler,
  ): Promise<FrameSocket> {
    const self = new FrameSocket(handler);
    const socket = {
      data: (_: Raw, chunk: Uint8Array) => self.#receive(chunk),
      drain: () => self.#flush(),
      end: () => self.#finish(undefined),
      close: () => self.#finish(undefined),
      error: (_: Raw, error: Error) => self.#finish(error),
      open: (raw: Raw) => {
        self.#raw = raw;
      },
    };
    // Bun takes { fd } here; its types do not say so yet
    const connect = (to: { unix: string } | { fd: number }) =>
      Bun.connect<undefined>({ ...to, socket } as Bun.UnixSocketOptions<undefined>);
    self.#raw = await ("fd" in target
      ? connect(target)
      : withSocket(target.unix, (unix) => connect({ unix })));
    return self;
  }

  /** Queue a frame. After the end it goes nowhere. */
  send(frame: Uint8Array): void {
    if (this.#closed) return;
    this.#queue.push(frame);
    if (this.#queue.length === 1) this.#flush();
  }

  /** Whether the program goes on for as long as this is open. */
  hold(program: boolean): void {
    if (program) this.#raw?.ref();
    else this.#raw?.unref();
  }

  close(): void {
    this.#finish(undefined);
  }

  #receive(chunk: Uint8Array): void {
    if (this.#closed) return;
    try {
      for (const [message, length] of this.#decoder.push(chunk)) {
        this.#handler.onFrame(message, length);
        if (this.#closed) return;
      }
    } catch (error) {
      this.#finish(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #flush(): void {
    while (!this.#closed && this.#raw !== undefined) {
      const part = this.#queue[0];
      if (part === undefined) return;
      const written = this.#raw.write(part);
      if (written < 0) {
        this.#finish(undefined);
        return;
      }
      if (written < part.length) {
        this.#queue[0] = part.subarray(written);
        return;
      }
      this.#queue.shift();
    }
  }

  #finish(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue = [];
    this.#raw?.terminate();
    this.#handler.onClose(error);
  }
}

/** What a path says where no socket is yet, or where nobody takes connections now. */
const NOBODY: ReadonlySet<unknown> = new Set(["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE", "EAGAIN"]);

/** An error of the system that says so. */
export function saysNobodyListens(error: unknown): boolean {
  return NOBODY.has((error as NodeJS.ErrnoException | undefined)?.code);
}

/**
 * Runs `connect` with a path that leads to the socket at `path` and nowhere else. A link is refused: it might lead to any
 * socket of this user. Rejects with {@link VmmError} `NOT_A_SOCKET` where there is something else, with the system's error
 * where it cannot be looked up, and as `connect` does.
 */
export async function withSocket<T>(path: string, connect: (path: string) => Promise<T>): Promise<T> {
  if (process.platform !== "linux") return connect(path);
  const fd = openSync(path, O_PATH | constants.O_NOFOLLOW);
  try {
    const status = fstatSync(fd);
    if (status.isSocket() && status.nlink === 1) return await connect(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
  throw new VmmError("NOT_A_SOCKET", `${path} is not a socket: something has replaced it`, {
    hint: "end the sandbox with `capsa down`: its guest may have taken over its VMM",
  });
}
