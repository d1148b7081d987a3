/**
 * Request lines that the parser of HTTP refuses and hosts take: methods that it does not know, and bytes beyond ASCII in
 * targets. It is shown others in their place, and what was said is kept for the request.
 */

import { type IncomingMessage, METHODS } from "node:http";
import type { Duplex } from "node:stream";

const LINE_MAX = 65_536; // bytes
/** Methods are tokens (RFC 9110 section 5.6.2); small letters in them would become large ones on the way to the host. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: bytes, as latin1
const LINE = /^([!#$%&'*+.^_`|~0-9A-Z-]{1,64}) ([^\x00-\x20\x7f]+)( HTTP\/1\.[01]\r?\n)/;
const STAND_IN = "POST"; // what may have a body, and whose answer does

export interface RequestLine {
  readonly method: string;
  /** A character a byte. */
  readonly target: string;
}

/** Those of one connection, on which no request is sent before the one before it has been answered. */
export class RequestLines {
  #begins = true;
  #held = Buffer.alloc(0);
  #said: RequestLine | undefined;

  constructor(socket: Duplex) {
    // whoever listens to the connection hears it so
    const emit = socket.emit.bind(socket);
    socket.emit = (event: string | symbol, ...args: unknown[]) => {
      if (event !== "data" || !this.#begins) return emit(event, ...args);
      const shown = this.#show(args[0] as Buffer);
      return shown === undefined || emit(event, shown);
    };
  }

  /** What was said in the request's first line. */
  take(asked: IncomingMessage): RequestLine {
    const said = this.#said ?? { method: asked.method ?? "", target: asked.url ?? "" };
    this.#said = undefined;
    return said;
  }

  /** Behind this request another may come: it is none that makes another stream of the connection. */
  goOnBehind(asked: IncomingMessage): void {
    asked.once("end", () => {
      this.#begins = true;
    });
  }

  /** Undefined until the line is there. */
  #show(chunk: Buffer): Buffer | undefined {
    const all = Buffer.concat([this.#held, chunk]);
    if (!all.includes(0x0a) && all.length < LINE_MAX) {
      this.#held = all;
      return undefined;
    }
    this.#held = Buffer.alloc(0);
    this.#begins = false;
    const [line, method, target, rest] = LINE.exec(all.toString("latin1")) ?? [];
    if (line === undefined || (METHODS.includes(method!) && !/[\x80-\xff]/.test(target!))) return all;
    this.#said = { method: method!, target: target! };
    const known = METHODS.includes(method!) ? method : STAND_IN;
    const plain = target!.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`);
    return Buffer.concat([Buffer.from(`${known} ${plain}${rest}`, "latin1"), all.subarray(line.length)]);
  }
}
