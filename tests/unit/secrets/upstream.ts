/** A TLS server of the tests' own, as a secret's host, which shows and does what tests ask of it. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type Authority, makeAuthority } from "../../../src/secrets/proxy/authority.ts";

export interface Upstream extends AsyncDisposable {
  readonly port: number;
  /** PEM of who has issued its certificate. */
  readonly authority: string;
  /** Names and values of the last request, in turns, as they came. */
  readonly seen: readonly string[];
}

/**
 * /headers answers with the request's headers, in a body and in `X-Seen`; /echo with its body; /stream with a line at
 * once and a second when the request's body has ended; /hang-up not at all; /upgrade echoes behind a 101; /repository is one of Git's, for
 * who has a name.
 */
export async function startUpstream(
  name: string,
  address = "127.0.0.1",
  authority?: Authority,
): Promise<Upstream> {
  const issuer = authority ?? (await makeAuthority());
  let seen: readonly string[] = [];
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    seen = request.rawHeaders;
    if (request.url === "/headers") {
      const text = JSON.stringify(request.rawHeaders);
      response.writeHead(200, [
        "X-Seen",
        text,
        "X-Twice",
        "1",
        "X-Twice",
        "2",
        "Content-Length",
        `${text.length}`,
      ]);
      request.resume().on("end", () => response.end(text));
    } else if (request.url === "/stream") {
      response.write("first\n");
      request.resume().on("end", () => response.end("second\n"));
    } else if (request.url === "/hang-up") {
      request.socket.destroy();
    } else if (request.url?.startsWith("/repository/info/refs")) {
      const known = request.headers.authorization !== undefined;
      response.writeHead(known ? 200 : 401, known ? {} : { "WWW-Authenticate": "Basic" });
      response.end(known ? `${"0123456789".repeat(4)}\trefs/heads/main\n` : "");
    } else request.pipe(response);
  };
  const server = createServer(await issuer.issue(name), serve);
  server.on("checkContinue", (request, response) => {
    seen = request.rawHeaders;
    if (request.url === "/unwanted") return response.writeHead(417, { Connection: "close" }).end("no\n");
    response.writeContinue();
    request.pipe(response);
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, early: Buffer) => {
    seen = request.rawHeaders;
    socket.on("error", () => {});
    const token = request.headers.authorization;
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Token: ${token}\r\n\r\n`,
    );
    socket.write(`you are ${token}\n`);
    socket.write(early);
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    authority: issuer.certificate,
    get seen() {
      return seen;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}
