/** The protocol's messages on two streams, one a line. No line ends the server, and each request has its answer. */

import type { Readable, Writable } from "node:stream";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import {
  ErrorCode,
  isInitializeRequest,
  isJSONRPCRequest,
  type JSONRPCMessage,
  JSONRPCMessageSchema,
  type RequestId,
  RequestIdSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { MIB } from "../spec/units.ts";
import { type Line, Lines } from "./lines.ts";

/** Bytes of one message. */
export const MAX_MESSAGE = 10 * MIB;
/** Requests under way, and bytes of answers that the client has not read: from there on it is not listened to. */
const MAX_CALLS = 1024;
const MAX_UNREAD = 16 * MIB;
/** The one revision of the protocol that has batches. */
const WITH_BATCHES = "2025-03-26";

/** Requests that came together, and are answered together. */
interface Batch {
  readonly answers: object[];
  /** Requests that have none yet. */
  open: number;
}

export class LineTransport implements Transport {
  onmessage?: NonNullable<Transport["onmessage"]>;
  onerror?: (error: Error) => void;
  onclose?: () => void;
  readonly #input: Readable;
  readonly #output: Writable;
  readonly #lines = new Lines(MAX_MESSAGE);
  /** Requests under way. */
  readonly #calls = new Map<RequestId, Batch | undefined>();
  #open = false;
  /** The request whose answer says the revision. */
  #initialize: RequestId | undefined;
  #revision: unknown;

  constructor(input: Readable, output: Writable) {
    this.#input = input;
    this.#output = output;
  }

  async start(): Promise<void> {
    this.#input.on("data", this.#read);
    this.#input.on("error", this.#fail);
    this.#output.on("drain", this.#listen);
    this.#open = true;
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#input.off("data", this.#read);
    this.#input.off("error", this.#fail);
    this.#output.off("drain", this.#listen);
    this.#input.pause();
    this.onclose?.();
  }

  async send(message: JSONRPCMessage): Promise<void> {
    const id = "method" in message ? undefined : message.id;
    if (id === undefined) {
      this.#write(message);
      return;
    }
    if (id === this.#initialize && "result" in message) this.#revision = message.result.protocolVersion;
    const batch = this.#calls.get(id);
    this.#calls.delete(id);
    if (batch === undefined) this.#write(message);
    else this.#answer(batch, message);
    this.#listen();
  }

  readonly #fail = (error: Error): void => this.onerror?.(error);

  readonly #read = (chunk: Uint8Array): void => {
    for (const line of this.#lines.push(chunk)) this.#take(line);
    this.#listen();
  };

  /** Or not, while there is too much to do; what is in the pipe waits, and then the client. */
  readonly #listen = (): void => {
    if (!this.#open) return;
    if (this.#calls.size >= MAX_CALLS || this.#output.writableLength >= MAX_UNREAD) this.#input.pause();
    else if (this.#input.isPaused()) this.#input.resume();
  };

  #take(line: Line): void {
    if ("outline" in line) {
      const id = idOf(parse(line.outline));
      this.#refuse(ErrorCode.InvalidRequest, `a message has at most ${MAX_MESSAGE / MIB} MiB: ${PIECES}`, id);
      return;
    }
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(line.bytes);
    } catch {
      this.#refuse(ErrorCode.ParseError, "a line is not UTF-8");
      return;
    }
    if (text.trim() === "") return;
    const value = parse(text);
    if (value === undefined) this.#refuse(ErrorCode.ParseError, "a line is not JSON, one message a line");
    else if (Array.isArray(value)) this.#takeBatch(value);
    else this.#takeMessage(value);
  }

  #takeBatch(values: readonly unknown[]): void {
    if (this.#revision !== WITH_BATCHES) {
      const why = `revision ${this.#revision ?? "2025-11-25"} of the protocol has no batches`;
      this.#refuse(ErrorCode.InvalidRequest, `${why}: send each message on a line of its own`);
      return;
    }
    if (values.length === 0) {
      this.#refuse(ErrorCode.InvalidRequest, "a batch has at least one message");
      return;
    }
    const batch: Batch = { answers: [], open: 1 }; // until all of it is under way
    for (const value of values) this.#takeMessage(value, batch);
    this.#answer(batch);
  }

  #takeMessage(value: unknown, batch?: Batch): void {
    const { success, data: message } = JSONRPCMessageSchema.safeParse(value);
    if (!success) {
      this.#takeOther(value, batch);
      return;
    }
    if (isJSONRPCRequest(message)) {
      if (this.#calls.has(message.id)) {
        this.#refuse(ErrorCode.InvalidRequest, "a request with this id is under way", message.id, batch);
        return;
      }
      this.#calls.set(message.id, batch);
      if (batch !== undefined) batch.open++;
      if (isInitializeRequest(message)) this.#initialize = message.id;
    }
    this.onmessage?.(message);
    if ("method" in message && message.method === "notifications/cancelled")
      this.#forget(message.params?.requestId);
  }

  /** Of a notification or an answer nobody waits to hear how it is wrong. */
  #takeOther(value: unknown, batch?: Batch): void {
    const id = idOf(value);
    const isObject = typeof value === "object" && value !== null;
    if (isObject && ("result" in value || "error" in value || ("method" in value && !("id" in value))))
      this.onerror?.(new Error("a message does not follow the protocol"));
    else this.#refuse(ErrorCode.InvalidRequest, "a message does not follow the protocol", id, batch);
  }

  /** One that was cancelled is not answered. */
  #forget(id: unknown): void {
    const call = RequestIdSchema.safeParse(id).data;
    if (call === undefined || !this.#calls.has(call)) return;
    const batch = this.#calls.get(call);
    this.#calls.delete(call);
    if (batch !== undefined) this.#answer(batch);
  }

  #refuse(code: ErrorCode, message: string, id: RequestId | null = null, batch?: Batch): void {
    const refusal = { jsonrpc: "2.0", id, error: { code, message } };
    this.onerror?.(new Error(message));
    if (batch === undefined) this.#write(refusal);
    else batch.answers.push(refusal);
  }

  #answer(batch: Batch, answer?: object): void {
    if (answer !== undefined) batch.answers.push(answer);
    if (--batch.open === 0 && batch.answers.length > 0) this.#write(batch.answers);
  }

  #write(message: object): void {
    this.#output.write(`${JSON.stringify(message)}\n`);
  }
}

const PIECES = "send less at a time, and a long file in pieces (`append` of the tool `write`)";

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function idOf(value: unknown): RequestId | null {
  if (typeof value !== "object" || value === null || !("id" in value)) return null;
  return RequestIdSchema.safeParse(value.id).data ?? null;
}
