/** Numbered calls over one socket of frames: each frame goes to the call that it belongs to, and all end with the socket. */

import type { Message } from "./framing.ts";
import { FrameSocket } from "./socket.ts";

/** A call that is not over yet. */
export interface InFlight {
  /** A frame of it, and the length of that frame's body; true when it was the last. Throws `ProtocolError`. */
  receive(frame: Message, length: number): boolean;
  /** The connection is gone. */
  lost(error: Error): void;
}

interface ExchangeHandler {
  /** Number of the call that a frame is for; undefined for one that is for none, and is done with. */
  callOf(frame: Message): number | undefined;
  /** What the calls that are not over are told when the socket has ended, with what went wrong, if anything did. */
  onClose(error: Error | undefined): Error | Promise<Error>;
}

export class Exchange<Call extends InFlight> {
  #socket!: FrameSocket;
  readonly #calls = new Map<number, Call>();
  #nextId = 1;
  #lost: Error | undefined;
  #holds = false;

  /** Rejects as {@link FrameSocket.connect} does. */
  static async open<Call extends InFlight>(
    target: { unix: string } | { fd: number },
    handler: ExchangeHandler,
  ): Promise<Exchange<Call>> {
    const self = new Exchange<Call>();
    self.#socket = await FrameSocket.connect(target, {
      onFrame: (frame, length) => {
        const id = handler.callOf(frame);
        // frames of calls that are not, or not any more: who answers twice, or what was never asked
        if (id === undefined || !self.#calls.get(id)?.receive(frame, length)) return;
        self.#calls.delete(id);
        self.#keepProgram();
      },
      onClose: (error) => {
        if (self.#lost !== undefined) return; // it was closed from here
        const end = handler.onClose(error);
        if (end instanceof Error) self.end(end);
        else void end.then((late) => self.end(late));
      },
    });
    self.#keepProgram();
    return self;
  }

  /** It takes calls; one whose socket has closed may find out a moment later. */
  get isOpen(): boolean {
    return this.#lost === undefined;
  }

  /** `make` is given the call's number and what sends its frames. Throws what has ended the exchange. */
  begin<T extends Call>(make: (id: number, send: (frame: Uint8Array) => void) => T): T {
    if (this.#lost !== undefined) throw this.#lost;
    const id = this.#nextId++;
    const call = make(id, (frame) => this.#socket.send(frame));
    this.#calls.set(id, call);
    this.#keepProgram();
    return call;
  }

  /** Whether the program goes on for as long as this is open, and not only while a call is. */
  hold(program: boolean): void {
    this.#holds = program;
    this.#keepProgram();
  }

  #keepProgram(): void {
    this.#socket?.hold(this.#holds || this.#calls.size > 0);
  }

  close(): void {
    this.#socket.close();
  }

  /** End it, and all its calls with `error`, unless something has ended it before; gives what has. */
  end(error: Error): Error {
    if (this.#lost !== undefined) return this.#lost;
    this.#lost = error;
    this.#socket?.close();
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.lost(error);
    return error;
  }
}
