/** One call on a connection: its answer, its deadline, and the credit of both its directions. */

import { AgentError } from "../errors/errors.ts";
import { failure, uint } from "./fields.ts";
import { encodeDataFrame, encodeFrame, type Message, ProtocolError } from "./framing.ts";

/** Payload bytes that may be under way without credit, unless a request says otherwise. */
const DEFAULT_WINDOW = 262_144;
/** What one program may have under way. The guest keeps standard input that a program has not read: not too much. */
export const PROGRAM_WINDOW = 1_048_576;
/** The most there is: for files, which wait for nobody. */
export const MAX_WINDOW = 4_194_304;

export interface CallSetup {
  /** Name of the API call and the guest path, for errors. */
  readonly op: string;
  readonly path?: string | undefined;
  /** Fields of the request besides id and op. */
  readonly request: Message & { readonly op: string };
  readonly window?: number;
  /** An event of the guest, and the length of its frame's body. Its payload is `taken` sooner or later by who gets it. */
  readonly onEvent?: (event: Message, length: number) => void;
  /** The events that end the call in the guest once nobody here wants it. */
  readonly cancel?: Message;
  readonly signal?: AbortSignal | undefined;
  /** Silence of the agent after which it is given up, milliseconds; for ever without. */
  readonly timeoutMs?: number | undefined;
}

export class Call {
  readonly id: number;
  readonly window: number;
  /** The guest's answer; rejects with what ended the call instead. */
  readonly response: Promise<Message>;
  readonly #setup: CallSetup;
  readonly #send: (frame: Uint8Array) => void;
  #settle!: { resolve: (response: Message) => void; reject: (reason: unknown) => void };
  /** `abandoned`: settled here, not yet in the guest; what still comes is credited and dropped. */
  #state: "open" | "abandoned" | "ended" = "open";
  #received = 0; // bytes of the guest's that no credit was returned for
  #taken = 0; // of those, the ones the caller has taken
  #budget: number; // bytes we may still send
  #room: (() => void) | undefined;
  #feeding = false; // more data or an end is still to come from us
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #onAbort = () => this.abandon(this.#setup.signal?.reason);

  constructor(id: number, setup: CallSetup, send: (frame: Uint8Array) => void) {
    this.id = id;
    this.#setup = setup;
    this.#send = send;
    this.window = setup.window ?? DEFAULT_WINDOW;
    this.#budget = this.window;
    this.response = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.response.catch(() => {}); // whoever wants it awaits it; it is not lost on anyone else
  }

  start(request: Uint8Array): void {
    this.#setup.signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.#send(request);
    this.#arm();
  }

  get open(): boolean {
    return this.#state === "open";
  }

  // ---- from the guest ----

  /** A frame of this call; true when it was the last. Throws {@link ProtocolError}. */
  receive(frame: Message, length: number): boolean {
    this.#arm();
    if (typeof frame.ok === "boolean") {
      this.#end(frame);
      return true;
    }
    if (frame.credit !== undefined) {
      this.#budget += uint(frame, "credit");
      if (this.#budget > this.window) throw new ProtocolError("it credited more than was sent");
      this.#room?.();
    } else {
      this.#event(frame, length);
    }
    return false;
  }

  #event(frame: Message, length: number): void {
    const payload =
      frame.data instanceof Uint8Array ? frame.data.length : frame.ev === "entries" ? length : 0;
    this.#received += payload;
    if (this.#received > this.window) throw new ProtocolError("it sent more than its window");
    if (this.open && this.#setup.onEvent !== undefined) this.#setup.onEvent(frame, length);
    else this.taken(payload);
  }

  #end(frame: Message): void {
    const refusal = frame.ok === true ? undefined : failure(frame.error);
    const state = this.#state;
    this.#close("ended");
    if (state !== "open") return;
    if (refusal === undefined) this.#settle.resolve(frame);
    else this.#settle.reject(this.#error(refusal.code, refusal.message));
  }

  #error(code: string, message: string): AgentError {
    const { op, path } = this.#setup;
    return new AgentError(code, `${path === undefined ? op : `${op} ${path}`}: ${message}`, { op, path });
  }

  // ---- from the caller ----

  /** The caller took that many payload bytes: credit is returned in pieces of a quarter of the window. */
  taken(bytes: number): void {
    this.#taken += bytes;
    if (this.#state === "ended" || this.#taken * 4 < this.window) return;
    this.#received -= this.#taken;
    this.#send(encodeFrame({ id: this.id, credit: this.#taken }));
    this.#taken = 0;
    this.#arm();
  }

  /** Send an event, and nothing once the call has ended. */
  event(ev: Message): void {
    if (this.#state === "open") this.#send(encodeFrame({ id: this.id, ...ev }));
  }

  /**
   * Send payload within the window; false when the call ended before all was sent. Frames do not become small: it waits
   * while less than a quarter of the window is left.
   */
  async data(ev: string, data: Uint8Array): Promise<boolean> {
    this.#feeding = true;
    let rest = data;
    while (rest.length > 0 && this.open) {
      if (this.#budget < Math.min(rest.length, Math.ceil(this.window / 4))) {
        await new Promise<void>((resolve) => {
          this.#room = resolve;
        });
        this.#room = undefined;
        continue;
      }
      const part = rest.subarray(0, this.#budget);
      this.#budget -= part.length;
      this.#send(encodeDataFrame(this.id, ev, part));
      this.#arm();
      rest = rest.subarray(part.length);
    }
    return this.open;
  }

  /** Send the event after which no more data comes. */
  finish(ev: string): void {
    this.#feeding = false;
    this.event({ ev });
    this.#arm();
  }

  /** Settle with `reason` now; the guest is told to stop, and what it still sends is dropped. */
  abandon(reason: unknown): void {
    if (!this.open) return;
    if (this.#setup.cancel !== undefined) this.event(this.#setup.cancel);
    this.#close("abandoned");
    this.#settle.reject(reason);
  }

  /** The connection is gone. */
  lost(error: Error): void {
    const open = this.open;
    this.#close("ended");
    if (open) this.#settle.reject(error);
  }

  #close(state: "abandoned" | "ended"): void {
    this.#state = state;
    clearTimeout(this.#timer);
    this.#setup.signal?.removeEventListener("abort", this.#onAbort);
    this.#room?.();
  }

  // Silence counts only while it is the guest's turn: not while the caller has unread bytes, or has yet to send some.
  #arm(): void {
    const limit = this.#setup.timeoutMs;
    clearTimeout(this.#timer);
    if (limit === undefined || !this.open) return;
    this.#timer = setTimeout(() => {
      if (this.#received > this.#taken || (this.#feeding && this.#room === undefined)) {
        this.#arm();
        return;
      }
      this.abandon(this.#error("ETIMEDOUT", `the agent was silent for ${limit} ms`));
    }, limit);
  }
}

/** Of a call that is answered at once, milliseconds. */
export const SHORT_MS = 30_000;
/** Of one that moves data or works on many files, and tells of it. */
export const FILE_MS = 60_000;
