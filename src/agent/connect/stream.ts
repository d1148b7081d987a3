/** A connection to the agent that becomes a stream: one request, one response, then bytes and nothing of capsa's. */

import { connect, type Socket } from "node:net";
import { AgentError, CapsaError, GuestLostError } from "../../errors/errors.ts";
import { failure, flag } from "../../wire/fields.ts";
import { encodeFrame, FrameDecoder, type Message, ProtocolError } from "../../wire/framing.ts";

/** Of a response that is one; a guest that trickles more would have us copy it again and again. */
const RESPONSE_LIMIT = 8192;
/** For a guest to answer a `connect`; who is to be accepted is waited for. */
const CONNECT_MS = 30_000;

/** `connect` or `accept` of guest/protocol.cddl. */
export type StreamRequest =
  | { readonly op: "connect"; readonly port: number }
  | { readonly op: "connect"; readonly path: string }
  | { readonly op: "accept"; readonly listener: number };

/**
 * Resolves with the stream, half-open and paused, once the guest has it. `path`: the Unix socket of the agent's port.
 * Rejects with `AgentError` for what the guest refuses or does not answer, with `GuestLostError` when it is not there,
 * with the signal's reason.
 */
export async function openStream(
  path: string,
  request: StreamRequest,
  signal?: AbortSignal,
): Promise<Socket> {
  signal?.throwIfAborted();
  const socket = connect({ path, allowHalfOpen: true });
  const abort = () => socket.destroy(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  const silence = () =>
    socket.destroy(
      new AgentError("ETIMEDOUT", `the agent was silent for ${CONNECT_MS} ms`, { op: request.op }),
    );
  const timer = request.op === "connect" ? setTimeout(silence, CONNECT_MS) : undefined;
  try {
    socket.write(encodeFrame({ id: 1, ...request }));
    const { response, rest } = await firstFrame(socket);
    if (!flag(response, "ok")) {
      const { code, message } = failure(response.error);
      throw new AgentError(code, message, { op: request.op });
    }
    if (rest.length > 0) socket.unshift(rest);
    return socket;
  } catch (error) {
    socket.destroy();
    if (signal?.aborted) throw signal.reason;
    if (error instanceof ProtocolError) throw new GuestLostError(error.message, { cause: error });
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/** Leaves the socket paused and without listeners, but for its errors, which nobody has to hear. */
async function firstFrame(socket: Socket): Promise<{ response: Message; rest: Uint8Array }> {
  const decoder = new FrameDecoder(RESPONSE_LIMIT);
  const { promise, resolve, reject } = Promise.withResolvers<{ response: Message; rest: Uint8Array }>();
  const lost = (cause: unknown) =>
    reject(cause instanceof CapsaError ? cause : new GuestLostError("it closed the connection", { cause }));
  const ended = () => lost(undefined);
  const take = (chunk: Buffer) => {
    try {
      for (const [response, , end] of decoder.push(chunk)) {
        stop();
        resolve({ response, rest: chunk.subarray(end) });
        return;
      }
    } catch (error) {
      reject(error);
    }
  };
  const stop = () =>
    socket.off("data", take).off("end", ended).off("error", lost).off("close", ended).pause();
  socket.on("error", () => {});
  socket.on("data", take).on("end", ended).on("error", lost).on("close", ended);
  return promise.finally(stop);
}
