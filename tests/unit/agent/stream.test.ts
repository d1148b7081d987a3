/** A connection that becomes a stream, with an agent that answers as it likes. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { openStream } from "../../../src/agent/connect/stream.ts";
import { encodeFrame, FrameDecoder } from "../../../src/wire/framing.ts";
import { scratch } from "../cli/capsa.ts";

let dir: { path: string } & AsyncDisposable;
let path: string;
let server: Server;
let answer: (socket: Socket, request: object) => void;

beforeEach(async () => {
  dir = await scratch();
  path = join(dir.path, "agent.sock");
  server = createServer({ allowHalfOpen: true }, (socket) => {
    const decoder = new FrameDecoder();
    socket.on("error", () => {});
    socket.once("data", (data: Buffer) => {
      for (const [request] of decoder.push(data)) answer(socket, request);
    });
  });
  await new Promise<void>((done) => server.listen(path, done));
});
afterEach(async () => {
  server.close();
  await dir[Symbol.asyncDispose]();
});

const ok = Buffer.from(encodeFrame({ id: 1, ok: true }));
const open = (signal?: AbortSignal) => openStream(path, { op: "connect", port: 80 }, signal);

async function all(socket: Socket): Promise<string> {
  let text = "";
  for await (const part of socket) text += part;
  return text;
}

test("what comes in one piece with the response, or in many, is the stream's", async () => {
  answer = (socket, request) => {
    expect(request).toEqual({ id: 1, op: "connect", port: 80 });
    socket.end(Buffer.concat([ok, Buffer.from("first words")]));
  };
  expect(await all(await open())).toBe("first words");
  answer = async (socket) => {
    for (const byte of ok) {
      socket.write(Buffer.of(byte));
      await new Promise((done) => setImmediate(done));
    }
    socket.end("later words");
  };
  expect(await all(await open())).toBe("later words");
});

test("a refusal is the guest's error", async () => {
  answer = (socket) =>
    void socket.write(
      encodeFrame({ id: 1, ok: false, error: { code: "ECONNREFUSED", message: "port 80: no\n" } }),
    );
  await expect(open()).rejects.toMatchObject({
    name: "AgentError",
    code: "ECONNREFUSED",
    message: "port 80: no",
  });
});

test.each([
  ["an end", Buffer.alloc(0)],
  ["half a response", ok.subarray(0, 6)],
  ["a frame of nothing", Buffer.alloc(4)],
  ["a frame that is too large for a response", Buffer.from([0, 16, 0, 0])],
  ["no CBOR", Buffer.from([0, 0, 0, 1, 0xff])],
  ["no response", Buffer.from(encodeFrame({ id: 1, ev: "data" }))],
])("%s is the loss of the guest", async (_what, bytes) => {
  answer = (socket) => void socket.end(bytes);
  await expect(open()).rejects.toMatchObject({ name: "GuestLostError" });
});

test("an abort ends the wait, and the connection", async () => {
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const abort = new AbortController();
  answer = (socket) => {
    socket.on("close", () => resolve()).resume();
    socket.on("end", () => socket.end());
    abort.abort(new Error("enough"));
  };
  await expect(open(abort.signal)).rejects.toThrow("enough");
  await ended;
});
