/** From a port of a guest's own loopback to one service of this machine. */

import { connect, type Socket } from "node:net";
import { resolve } from "node:path";
import { AgentError, type CapsaError, HostError, HostFileError } from "../../errors/errors.ts";
import { hold } from "../../host/hold.ts";
import { uint } from "../../wire/fields.ts";
import type { Message } from "../../wire/framing.ts";
import { Connection } from "../connect/connection.ts";
import { openStream } from "../connect/stream.ts";
import type { ExposeOptions, Exposure } from "./api.ts";
import { checkPort, Streams } from "./streams.ts";

const ANSWER_MS = 30_000;
/** Until it is looked again whether there is room for one more stream. */
const FULL_MS = 100;

type Service = { readonly host: string; readonly port: number } | { readonly path: string };

/** As `vm.expose`. `agent`: the Unix socket of the agent's port. `ended` settles when the sandbox has ended. */
export async function expose(
  agent: string,
  service: number | string,
  options: ExposeOptions,
  ended: Promise<unknown>,
): Promise<Exposure> {
  const target = serviceOf(service);
  const wanted = checkPort("guestPort", options.guestPort ?? ("port" in target ? target.port : 0), 0);
  const { signal, onFailure = () => {} } = options;
  const connection = await Connection.open(agent, { signal, timeoutMs: ANSWER_MS });
  try {
    const { listener, guestPort, lost } = await listenInGuest(connection, wanted, signal);
    const streams = new Streams(() => connection.close(), signal, Promise.race([ended, lost]));
    void acceptAll(agent, listener, target, streams, onFailure);
    return { guestPort, ...streams.handle() };
  } catch (error) {
    connection.close();
    throw error;
  }
}

function serviceOf(service: number | string): Service {
  if (typeof service === "string") return { path: resolve(service) };
  return { host: "127.0.0.1", port: checkPort("hostPort", service) };
}

/** `lost` settles when the guest listens no more. */
async function listenInGuest(
  connection: Connection,
  port: number,
  signal: AbortSignal | undefined,
): Promise<{ listener: number; guestPort: number; lost: Promise<unknown> }> {
  const { promise: listening, resolve } = Promise.withResolvers<Message>();
  const call = connection.call({
    op: "expose",
    request: { op: "listen", port },
    onEvent: resolve,
    cancel: { ev: "abort" },
    signal,
  });
  const event = await Promise.race([listening, call.response]); // the response is a refusal, which throws
  return connection.trust(() => ({
    listener: uint(event, "listener"),
    guestPort: uint(event, "port", 65_535),
    lost: call.response.catch(() => {}),
  }));
}

/** One at a time: who is not accepted waits in the guest, and how fast they come is not the guest's to say. */
async function acceptAll(
  agent: string,
  listener: number,
  service: Service,
  streams: Streams,
  onFailure: (error: CapsaError) => void,
): Promise<void> {
  while (!streams.signal.aborted) {
    if (streams.full) {
      await Bun.sleep(FULL_MS);
      continue;
    }
    try {
      const stream = await openStream(agent, { op: "accept", listener }, streams.signal);
      void serve(streams.hold(stream), service, streams, onFailure);
    } catch (error) {
      if (!(error instanceof AgentError && error.code === "EAGAIN")) return streams.close();
      await Bun.sleep(FULL_MS);
    }
  }
}

async function serve(
  stream: Socket,
  service: Service,
  streams: Streams,
  onFailure: (error: CapsaError) => void,
): Promise<void> {
  try {
    await streams.join(stream, await reach(service, streams));
  } catch (cause) {
    stream.destroy();
    if (cause instanceof HostFileError && cause.code === "GUEST_LINK") return onFailure(cause);
    const what = "path" in service ? service.path : `port ${service.port} of this machine`;
    const { code = "EIO" } = cause as NodeJS.ErrnoException;
    if (!streams.signal.aborted)
      onFailure(
        new HostError(code, `a guest's connection could not be passed on to ${what}: ${code}`, { cause }),
      );
  }
}

/** A Unix socket is looked up each time: who serves there may have made it anew. */
async function reach(service: Service, streams: Streams): Promise<Socket> {
  using held = "path" in service ? hold(service.path) : undefined;
  const target = held === undefined ? service : { path: held.path };
  const socket = streams.hold(connect({ ...target, allowHalfOpen: true }));
  await new Promise<void>((done, reject) =>
    socket.once("connect", done).once("error", reject).once("close", reject),
  );
  return socket;
}
