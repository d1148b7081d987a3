/** Connections that become streams: to servers of the guest, and from its programs. */

import { describe, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { type Connection, encode } from "./agent.ts";
import { gone } from "./processes.ts";
import { agent, host, serve } from "./served.ts";

serve();

type Serve = (socket: Socket) => void;

/** Where a server listens, and where to find it. */
async function listen(serve: Serve, where: { host: string } | { path: string }): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    serve(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen("path" in where ? where : { port: 0, ...where }, resolve);
  });
  return server;
}

const portOf = (server: Server) => (server.address() as { port: number }).port;

/** The stream that a connection has become: what comes, to its end. */
function stream(from: Connection): { socket: Socket; all: Promise<Buffer> } {
  const { socket } = from;
  const parts: Buffer[] = [];
  socket.removeAllListeners("data");
  socket.on("data", (part: Buffer) => parts.push(part));
  const all = new Promise<Buffer>((resolve) => socket.once("end", () => resolve(Buffer.concat(parts))));
  return { socket, all };
}

const echo: Serve = (socket) => socket.pipe(socket);
const big = Buffer.alloc(8 << 20, "0123456789abcdef!");

describe("connect", () => {
  test.each(["127.0.0.1", "::1"])(
    "leads to a server at %s, both ways at once, by halves",
    async (address) => {
      await using server = await listen(echo, { host: address });
      expect(await host.response(host.request("connect", { port: portOf(server) }))).toEqual({
        id: 1,
        ok: true,
      });
      const { socket, all } = stream(host);
      socket.end(big); // the server's answer still comes
      expect((await all).equals(big)).toBe(true);
    },
  );

  test("leads to a Unix socket", async () => {
    const path = join(agent.directory, "echo.sock");
    await using _server = await listen(echo, { path });
    expect(await host.response(host.request("connect", { path }))).toEqual({ id: 1, ok: true });
    const { socket, all } = stream(host);
    socket.end("word");
    expect((await all).toString()).toBe("word");
  });

  test("a server that speaks first, and one that ends first, are heard to the end", async () => {
    const { promise: rest, resolve } = Promise.withResolvers<Buffer>();
    await using server = await listen(
      (socket) => {
        const parts: Buffer[] = [];
        socket.on("data", (part: Buffer) => parts.push(part));
        socket.once("end", () => resolve(Buffer.concat(parts)));
        socket.end("hello");
      },
      { host: "127.0.0.1" },
    );
    // what the agent sends right behind its response comes with it, so the test's own socket is used
    const socket = connect({ path: join(agent.directory, "agent.sock"), allowHalfOpen: true });
    const came: Buffer[] = [];
    const ended = new Promise<void>((done) => socket.once("end", done));
    socket.on("data", (part: Buffer) => came.push(part));
    socket.write(encode({ id: 1, op: "connect", port: portOf(server) }));
    await ended;
    const all = Buffer.concat(came);
    expect(all.subarray(4 + all.readUInt32BE(0)).toString()).toBe("hello");
    socket.end("and good bye");
    expect((await rest).toString()).toBe("and good bye");
  });

  test("a reader that does not read holds its writer up, and nobody else", async () => {
    let sent = 0;
    await using server = await listen(
      (socket) => {
        const more = () => {
          while (socket.write(big.subarray(0, 65_536))) sent += 65_536;
        };
        socket.on("drain", more);
        more();
      },
      { host: "127.0.0.1" },
    );
    const slow = await agent.connect();
    await slow.response(slow.request("connect", { port: portOf(server) }));
    slow.socket.pause();
    for (let before = -1; sent === 0 || before !== sent; ) {
      before = sent;
      for (let i = 0; i < 20; i++) await host.response(host.request("ping"));
    }
    expect(sent).toBeLessThan(64 << 20);
    slow.socket.destroy();
  });

  test("what cannot be reached is a refusal, and the connection goes on", async () => {
    const server = await listen(echo, { host: "127.0.0.1" });
    const port = portOf(server);
    await server[Symbol.asyncDispose]();
    expect((await host.response(host.request("connect", { port }))).error).toEqual({
      code: "ECONNREFUSED",
      message: expect.stringContaining(`port ${port}: Connection refused`),
    });
    const codes = [
      [{ path: "/no/such.sock" }, "ENOENT"],
      [{ path: `/${"x".repeat(108)}` }, "ENAMETOOLONG"],
      [{ path: "relative" }, "EINVAL"],
      [{ port: 0 }, "EPROTO"],
      [{ port: 65_536 }, "EPROTO"],
      [{ port: "80" }, "EPROTO"],
      [{}, "EPROTO"],
    ] as const;
    for (const [fields, code] of codes)
      expect((await host.response(host.request("connect", fields))).error.code).toBe(code);
    expect((await host.response(host.request("ping"))).ok).toBe(true);
  });

  test("its connection's other calls end with it", async () => {
    await using server = await listen(echo, { host: "127.0.0.1" });
    const sleeper = host.request("exec", { argv: ["sleep", "1000"] });
    const started = await host.find((frame) => frame.id === sleeper && frame.ev === "started");
    await host.response(host.request("connect", { port: portOf(server) }));
    expect(await gone(started.pid)).toBe(true);
    host.close(); // the server's end waits for it
  });
});

describe("listen", () => {
  async function listening(port = 0): Promise<{ id: number; listener: number; port: number }> {
    const id = host.request("listen", { port });
    const { listener, port: taken } = await host.find((frame) => frame.id === id && "listener" in frame);
    return { id, listener, port: taken };
  }

  test.each(["127.0.0.1", "::1"])("hands over those who come to %s, the first first", async (address) => {
    const { listener, port } = await listening();
    const program = connect({ host: address, port, allowHalfOpen: true });
    program.end("word"); // before anybody accepts: it waits
    const taker = await agent.connect();
    expect(await taker.response(taker.request("accept", { listener }))).toEqual({ id: 1, ok: true });
    const { socket } = stream(taker);
    socket.end("answer");
    const parts: Buffer[] = [];
    for await (const part of program) parts.push(part);
    expect(Buffer.concat(parts).toString()).toBe("answer");
  });

  test("ends with its connection, and what waits for it then ends too", async () => {
    const { listener, port } = await listening();
    const taker = await agent.connect();
    const waiting = taker.request("accept", { listener });
    const aborted = taker.request("accept", { listener });
    taker.send({ id: aborted, ev: "abort" });
    expect((await taker.response(aborted)).error.code).toBe("ECANCELED");
    host.close();
    expect((await taker.response(waiting)).error.code).toBe("ECANCELED");
    expect((await taker.response(taker.request("accept", { listener }))).error.code).toBe("EINVAL");
    const program = connect({ host: "127.0.0.1", port });
    expect(await new Promise((resolve) => program.once("error", resolve))).toMatchObject({
      code: "ECONNREFUSED",
    });
  });

  test("a port that is taken is told, and one that is given up is free again", async () => {
    const { id, port } = await listening();
    expect((await host.response(host.request("listen", { port }))).error.code).toBe("EADDRINUSE");
    host.send({ id, ev: "abort" });
    expect((await host.response(id)).error.code).toBe("ECANCELED");
    expect((await listening(port)).port).toBe(port);
    for (const wrong of [-1, 65_536, "80"])
      expect((await host.response(host.request("listen", { port: wrong }))).error.code).toBe("EPROTO");
  });
});
