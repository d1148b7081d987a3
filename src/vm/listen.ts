/** A port of the host that a guest connects to: the VMM looks for a Unix socket of that number. */

import { createServer, type Socket } from "node:net";
import { VmmError } from "../errors/errors.ts";
import { hostSocket } from "../host/directories.ts";
import type { VsockListener } from "./api.ts";

/** Rejects with {@link VmmError}: an errno name, `EADDRINUSE` when somebody listens already. */
export async function listenForGuest(
  runtimeDir: string,
  port: number,
  onConnection: (stream: Socket) => void,
): Promise<VsockListener> {
  const path = hostSocket(runtimeDir, port);
  const server = createServer((stream) => {
    stream.on("error", () => {}); // a guest that resets its stream should not end this process
    onConnection(stream);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const message = `vsock port ${port} of the host cannot be listened on (${cause.code})`;
      reject(new VmmError(cause.code ?? "EIO", message));
    });
    server.listen(path, resolve);
  });
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      resolve(); // the callback waits for the streams, which stay
    });
  return { port, path, close, [Symbol.asyncDispose]: close };
}
