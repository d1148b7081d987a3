/** The protocol's lines: whatever a client sends, the server lives on and each request has its answer. */

import { afterEach, beforeEach, expect, test } from "bun:test";
import { PassThrough } from "node:stream";
import type { JSONRPCMessage, JSONRPCRequest } from "@modelcontextprotocol/sdk/types.js";
import { LineTransport, MAX_MESSAGE } from "../../../src/mcp/transport.ts";

const DEEP = 200_000;
let input: PassThrough;
let output: PassThrough;
let transport: LineTransport;
let heard: JSONRPCMessage[];
let told: string[];

beforeEach(async () => {
  [input, output] = [new PassThrough(), new PassThrough()];
  [heard, told] = [[], []];
  transport = new LineTransport(input, output);
  transport.onmessage = (message) => void heard.push(message);
  transport.onerror = ({ message }) => void told.push(message);
  await transport.start();
});
afterEach(() => transport.close());

/** Bytes, or messages a line each; in one piece. */
function send(...lines: unknown[]): void {
  for (const line of lines) {
    if (!(line instanceof Uint8Array))
      input.write(`${typeof line === "string" ? line : JSON.stringify(line)}\n`);
    else input.write(line);
  }
}

/** The next line that the client gets. */
async function answer() {
  let text = "";
  while (!text.endsWith("\n")) {
    const byte = output.read(1);
    if (byte === null) await new Promise((resolve) => output.once("readable", resolve));
    else text += byte;
  }
  return JSON.parse(text);
}

const request = (id: unknown, method = "ping", params?: unknown) => ({ jsonrpc: "2.0", id, method, params });
const refusal = (id: unknown, code: number, why: string) => ({
  jsonrpc: "2.0",
  id,
  error: { code, message: expect.stringContaining(why) },
});
const reply = (id: number) => transport.send({ jsonrpc: "2.0", id, result: {} });

/** The server goes on: it hears, and answers. */
async function alive(): Promise<void> {
  send(request("alive"));
  while ((heard.at(-1) as JSONRPCRequest | undefined)?.id !== "alive") await Bun.sleep(1);
  await transport.send({ jsonrpc: "2.0", id: "alive", result: {} });
  expect(await answer()).toMatchObject({ id: "alive", result: {} });
}

/** As clients write it: the id may come first, or last. */
const ofLength = (length: number, id: unknown, last: boolean) => {
  const ends = [
    `"jsonrpc":"2.0","id":${JSON.stringify(id)}`,
    '"method":"x","params":{"id":9,"x":"\\"id\\":8,',
  ];
  const [head, tail] = last ? [`{${ends[1]}`, `"},${ends[0]}}`] : [`{${ends[0]},${ends[1]}`, `"}}`];
  return head + "a".repeat(length - head.length - tail.length) + tail;
};

test("a message of the greatest length is heard, whole", async () => {
  send(ofLength(MAX_MESSAGE, 1, false));
  while (heard.length === 0) await Bun.sleep(1);
  expect(JSON.stringify(heard[0]).length).toBe(MAX_MESSAGE);
  expect(told).toEqual([]);
});

for (const [what, id, last] of [
  ["its id first", 7, false],
  ["its id last", 'a"b', true],
] as const) {
  test(`a longer one is refused, with ${what}`, async () => {
    send(ofLength(MAX_MESSAGE + 1, id, last));
    expect(await answer()).toEqual(refusal(id, -32600, "at most 10 MiB"));
    expect(heard).toEqual([]);
    await alive();
  });
}

test("of one that is no message nobody knows the id", async () => {
  send("a".repeat(MAX_MESSAGE + 1), `[${" ".repeat(MAX_MESSAGE)}{"id":1}]`);
  for (let i = 0; i < 2; i++) expect(await answer()).toEqual(refusal(null, -32600, "at most 10 MiB"));
  await alive();
});

test.each([
  ["garbage", "garbage", null, -32700, "is not JSON"],
  ["half of a message", '{"jsonrpc":"2.0","id":1', null, -32700, "is not JSON"],
  ["what is not UTF-8", new Uint8Array([0x22, 0xff, 0x22, 0x0a]), null, -32700, "is not UTF-8"],
  ["a number", 5, null, -32600, "does not follow the protocol"],
  ["null", null, null, -32600, "does not follow the protocol"],
  ["nothing", {}, null, -32600, "does not follow the protocol"],
  ["another JSON-RPC", { ...request(3), jsonrpc: "1.0" }, 3, -32600, "does not follow the protocol"],
  ["a method that is no name", request(4, 5 as never), 4, -32600, "does not follow the protocol"],
  ["parameters that are none", request("x", "ping", 5), "x", -32600, "does not follow the protocol"],
  ["an id that is none", request({}), null, -32600, "does not follow the protocol"],
  ["a batch", [request(5), request(6)], null, -32600, "no batches: send each message on a line of its own"],
  ["an empty batch", [], null, -32600, "no batches"],
])("%s is refused", async (_what, line, id, code, why) => {
  send(line);
  expect(await answer()).toEqual(refusal(id, code, why));
  expect(heard).toEqual([]);
  await alive();
});

test("notifications and answers that are wrong have no answer; empty lines are none", async () => {
  send("", "  ", { jsonrpc: "2.0", method: 5 }, { jsonrpc: "2.0", id: 1, result: 5 });
  await alive();
  expect(told).toHaveLength(2);
});

test("messages as deep as can be sent", async () => {
  send(`{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":${"[".repeat(DEEP)}${"]".repeat(DEEP)}}}`);
  await alive();
  expect(heard[0]).toMatchObject({ id: 1, method: "x" });
});

test("lines come in any pieces", async () => {
  const text = Buffer.from(`${JSON.stringify(request(1, "ä€"))}\r\n${JSON.stringify(request(2))}\n`);
  for (const byte of text) send(Uint8Array.of(byte));
  await alive();
  expect(heard.slice(0, 2)).toMatchObject([{ id: 1, method: "ä€" }, { id: 2 }]);
});

test("an id that is under way is not begun twice", async () => {
  send(request(1), request(1));
  expect(await answer()).toEqual(refusal(1, -32600, "is under way"));
  await reply(1);
  expect(await answer()).toMatchObject({ id: 1, result: {} });
  send(request(1));
  await alive();
  expect(heard).toHaveLength(3);
});

test("a batch is answered as one by the revision that has them, cancelled requests left out", async () => {
  send(
    request(0, "initialize", {
      protocolVersion: "2025-03-26",
      capabilities: {},
      clientInfo: { name: "x", version: "1" },
    }),
  );
  await transport.send({ jsonrpc: "2.0", id: 0, result: { protocolVersion: "2025-03-26" } });
  await answer();
  send([request(1), { jsonrpc: "2.0", method: "notifications/x" }, request(2), 5, request(3)]);
  await alive();
  expect(heard.slice(1, 5)).toMatchObject([{ id: 1 }, { method: "notifications/x" }, { id: 2 }, { id: 3 }]);
  await reply(3);
  send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 2 } });
  await alive();
  await reply(1);
  const refused = refusal(null, -32600, "does not follow the protocol");
  expect(await answer()).toMatchObject([refused, { id: 3 }, { id: 1 }]);
  send([]);
  expect(await answer()).toEqual(refusal(null, -32600, "at least one"));
});

test("who sends faster than it is answered waits", async () => {
  const many = 5000;
  for (let id = 0; id < many; id++) send(request(id));
  while (!input.isPaused()) await Bun.sleep(1);
  const before = heard.length;
  expect(before).toBeLessThan(many);
  for (let id = 0; id < many; id++) {
    while (heard.length <= id) await Bun.sleep(1);
    await reply(id);
  }
  for (let id = 0; id < many; id++) expect((await answer()).id).toBe(id);
});

test("who does not read what it is answered is not listened to until it does", async () => {
  const large = { text: "a".repeat(2 ** 20) };
  for (let id = 0; id < 20; id++) send(request(id));
  await Bun.sleep(0);
  for (let id = 0; id < 20; id++) await transport.send({ jsonrpc: "2.0", id, result: large });
  expect(input.isPaused()).toBe(true);
  output.resume();
  while (input.isPaused()) await Bun.sleep(1);
  send(request("heard"));
  while ((heard.at(-1) as JSONRPCRequest).id !== "heard") await Bun.sleep(1);
});
