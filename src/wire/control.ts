/** The client of a VMM's control channel (ffi/vmm.cddl): requests with replies, and what comes unasked. */

import { VmmError } from "../errors/errors.ts";
import { Exchange, type InFlight } from "./exchange.ts";
import { failure, map, uint } from "./fields.ts";
import { encodeFrame, type Message } from "./framing.ts";

const REQUEST_TIMEOUT_MS = 10_000;

interface ControlHandler {
  /** A throw ends the channel. */
  onEvent(event: Message): void;
  /** The channel has ended: told once. Every open request is rejected with it. */
  onClose(): void;
}

export class Control {
  readonly #exchange: Exchange<Request>;

  private constructor(exchange: Exchange<Request>) {
    this.#exchange = exchange;
  }

  /** By the descriptor that started the VMM, which is taken over, or by its control.sock. */
  static async open(
    target: { fd: number } | { unix: string },
    handler: ControlHandler = { onEvent: () => {}, onClose: () => {} },
  ): Promise<Control> {
    const exchange = await Exchange.open<Request>(target, {
      callOf: (message) => {
        if (message.reply !== undefined) return uint(message, "reply");
        handler.onEvent(message);
        return undefined;
      },
      onClose: () => {
        handler.onClose();
        return new VmmError("VMM_GONE", "the VMM has ended and takes no more requests");
      },
    });
    exchange.hold(true);
    return new Control(exchange);
  }

  /** Send a request; its result. Rejects with {@link VmmError}: the VMM's own code, `ETIMEDOUT`, or `VMM_GONE`. */
  async request(op: string, fields: Message = {}): Promise<Message> {
    const request = this.#exchange.begin((id, send) => {
      send(encodeFrame({ id, op, ...fields }));
      return new Request(op);
    });
    return request.result;
  }

  /** As {@link Exchange.hold}, which it does from the start. */
  hold(program: boolean): void {
    this.#exchange.hold(program);
  }

  close(): void {
    this.#exchange.close();
  }
}

class Request implements InFlight {
  readonly #answer = Promise.withResolvers<Message>();
  readonly #timer: ReturnType<typeof setTimeout>;

  constructor(op: string) {
    const late = new VmmError("ETIMEDOUT", `the VMM did not answer "${op}" in ${REQUEST_TIMEOUT_MS} ms`);
    this.#timer = setTimeout(() => this.lost(late), REQUEST_TIMEOUT_MS);
  }

  get result(): Promise<Message> {
    return this.#answer.promise;
  }

  receive(message: Message): true {
    const error = message.error === undefined ? undefined : failure(message.error);
    const result = message.result === undefined ? {} : map(message.result, "a result");
    clearTimeout(this.#timer);
    if (error === undefined) this.#answer.resolve(result);
    else this.#answer.reject(new VmmError(error.code, error.message));
    return true;
  }

  lost(error: Error): void {
    clearTimeout(this.#timer);
    this.#answer.reject(error);
  }
}
