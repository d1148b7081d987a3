/** From a place of this machine to a server in a sandbox. */

import { type AddressInfo, createServer, isIP, type Server } from "node:net";
import { resolve } from "node:path";
import { CapsaError, HostError, SpecError } from "../../errors/errors.ts";
import { Place as Directory } from "../../host/place.ts";
import { openStream, type StreamRequest } from "../connect/stream.ts";
import type { Forward, ForwardOptions } from "./api.ts";
import { checkPort, Streams } from "./streams.ts";

const LOOPBACK = "127.0.0.1";

type Place = { readonly host: string; readonly port: number } | { readonly path: string };

/** As `vm.forward`. `agent`: the Unix socket of the agent's port. `ended` settles when the sandbox has ended. */
export async function forward(
  agent: string,
  target: number | string,
  options: ForwardOptions,
  ended: Promise<unknown>,
): Promise<Forward> {
  const request = requestOf(target);
  const place = placeOf(options);
  options.signal?.throwIfAborted();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const release = await listen(server, place);
  const streams = new Streams(() => server.close(release), options.signal, ended);
  server.on("connection", async (client) => {
    streams.hold(client);
    try {
      await streams.join(client, await openStream(agent, request, streams.signal));
    } catch (error) {
      client.resetAndDestroy(); // an end would look like an answer of no bytes
      if (error instanceof CapsaError) options.onFailure?.(error);
    }
  });
  return { ...whereabouts(place, server.address() as AddressInfo), ...streams.handle() };
}

/**
 * A Unix socket is this user's alone from its first moment on. Gives what there is to do once the server is closed. Throws
 * {@link HostError}, and `HostFileError`.
 */
async function listen(server: Server, place: Place): Promise<() => void> {
  const { address, release } = addressOf(place);
  try {
    await new Promise<void>((done, reject) => {
      server.on("error", (cause: NodeJS.ErrnoException) => reject(cannotListen(place, cause)));
      const mask = process.umask(0o177);
      try {
        server.listen(address, done);
      } finally {
        process.umask(mask);
      }
    });
  } catch (error) {
    release();
    throw error;
  }
  return release;
}

/** A Unix socket's directory is held open: the socket is made in it, and removed from it. */
function addressOf(place: Place): { address: Place; release: () => void } {
  if (!("path" in place)) return { address: place, release: () => {} };
  const { place: directory, name } = Directory.above(place.path);
  return { address: { path: directory.name(name).toString() }, release: () => directory.close() };
}

function requestOf(target: number | string): StreamRequest {
  if (typeof target === "number") return { op: "connect", port: checkPort("guestPort", target) };
  if (target.startsWith("/") && !target.includes("\0")) return { op: "connect", path: target };
  throw new SpecError("guestPort", `it should be a port, or an absolute path in the guest, not "${target}"`);
}

function placeOf({ host, port, path }: ForwardOptions): Place {
  if (path !== undefined) {
    if (host !== undefined || port !== undefined)
      throw new SpecError("path", "it cannot be combined with host or port");
    return { path: resolve(path) };
  }
  if (host !== undefined && isIP(host) === 0)
    throw new SpecError(
      "host",
      `it should be an address of this machine, such as "127.0.0.1", not "${host}"`,
    );
  return { host: host ?? LOOPBACK, port: checkPort("port", port ?? 0, 0) };
}

function whereabouts(place: Place, bound: AddressInfo): Pick<Forward, "address" | "port" | "url"> {
  if ("path" in place) return { address: place.path, port: 0, url: `unix:${place.path}` };
  const host = isIP(place.host) === 6 ? `[${place.host}]` : place.host;
  const address = `${host}:${bound.port}`;
  return { address, port: bound.port, url: `http://${address}` };
}

function cannotListen(place: Place, cause: NodeJS.ErrnoException): HostError {
  const code = cause.code === "EADDRINUSE" ? "PORT_IN_USE" : (cause.code ?? "EIO");
  const what = "path" in place ? place.path : `port ${place.port} of ${place.host}`;
  const why = code === "PORT_IN_USE" ? "it is taken" : code;
  const hint =
    "path" in place ? "choose another path, or remove it" : "choose another, or 0 for one that is free";
  return new HostError(code, `${what} cannot be listened on: ${why}`, { hint, cause });
}
