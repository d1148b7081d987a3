/** hello, ping, info, shutdown, and what the agent does with a host that breaks the protocol. */

import { describe, expect, test } from "bun:test";
import { hostname } from "node:os";
import { Agent, encode, type Frame } from "./agent.ts";
import { agent, host, serve } from "./served.ts";

serve();

test("hello tells the version and refuses another", async () => {
  const hello = await host.response(host.request("hello", { version: 1 }));
  expect(hello).toMatchObject({ ok: true, version: 1 });
  expect(hello.agent).toMatch(/^capsa-agent\/\d/);
  const refused = await host.response(host.request("hello", { version: 2 }));
  expect(refused).toMatchObject({ ok: false, error: { code: "EPROTO" } });
  expect(refused.error.message).toContain("version 2");
});

test("ping echoes what it got, up to a frame's worth", async () => {
  expect(await host.response(host.request("ping"))).toEqual({ id: 1, ok: true });
  const data = new Uint8Array(1_048_500).map((_, i) => i * 7);
  const echoed = await host.response(host.request("ping", { data }));
  expect(Buffer.compare(echoed.data, data)).toBe(0);
});

test("info is of this machine", async () => {
  const info = await host.response(host.request("info"));
  expect(info).toMatchObject({ ok: true, hostname: hostname(), arch: "x86_64" });
  expect(info.kernel).toBe((await Bun.file("/proc/sys/kernel/osrelease").text()).trim());
  expect(info.cpus).toBeGreaterThan(0);
  expect(Number(info.memoryTotal)).toBeGreaterThan(Number(info.memoryFree));
  expect(Number(info.uptimeMs)).toBeGreaterThan(0);
});

test("an operation it does not have", async () => {
  const response = await host.response(host.request("fly"));
  expect(response).toMatchObject({ ok: false, error: { code: "ENOSYS" } });
  expect(response.error.message).toContain("fly");
});

test("keys it does not know are ignored", async () => {
  expect(await host.response(host.request("ping", { more: [{ deep: true }] }))).toMatchObject({ ok: true });
});

test("frames to a call that is over are ignored", async () => {
  const id = host.request("ping");
  await host.response(id);
  host.send({ id, credit: 5 });
  host.send({ id, ev: "stdin", data: new Uint8Array(5) });
  expect(await host.response(host.request("ping"))).toMatchObject({ ok: true });
});

test("a frame in pieces, and many in one", async () => {
  for (const byte of encode({ id: 50, op: "ping" })) {
    host.socket.write(Buffer.from([byte]));
    await Bun.sleep(1);
  }
  await host.response(50);
  host.socket.write(
    Buffer.concat(Array.from({ length: 500 }, (_, i) => encode({ id: 100 + i, op: "ping" }))),
  );
  for (let i = 0; i < 500; i++) await host.response(100 + i);
});

describe("a host that breaks the protocol is told why and let go:", () => {
  const frame = (...bytes: number[]) => Buffer.from([0, 0, 0, bytes.length, ...bytes]);
  const nested = (depth: number) => {
    let value: unknown = 1;
    for (let i = 0; i < depth; i++) value = [value];
    return encode({ id: 1, op: "ping", value });
  };
  const cases: [string, Buffer, RegExp][] = [
    ["a length of 0", Buffer.from([0, 0, 0, 0]), /a frame of 0 bytes/],
    ["a length over 1 MiB", Buffer.from([0, 16, 0, 1]), /a frame of 1048577 bytes/],
    ["a length of 4 GiB", Buffer.from([255, 255, 255, 255]), /a frame of 4294967295 bytes/],
    ["no CBOR", frame(0xff, 0xff), /./],
    ["half a map", frame(0xa2, 0x62, 0x69, 0x64, 0x01), /well-formed/],
    ["not a map", frame(0x83, 1, 2, 3), /not a map/],
    ["bytes after the map", frame(0xa1, 0x62, 0x69, 0x64, 0x01, 0x00), /after the map/],
    ["an indefinite map", frame(0xbf, 0x62, 0x69, 0x64, 0x01, 0xff), /indefinite/],
    ["an indefinite string", frame(0xa1, 0x62, 0x69, 0x64, 0x5f, 0x41, 0, 0xff), /indefinite/],
    ["a key that is no text", frame(0xa1, 0x01, 0x02), /key/],
    ["a bignum", frame(0xa1, 0x62, 0x69, 0x64, 0xc2, 0x41, 0x01), /64 bits/],
    [
      "a string longer than the frame",
      frame(0xa1, 0x62, 0x69, 0x64, 0x5b, 0x7f, 255, 255, 255, 255, 255, 255, 255),
      /./,
    ],
    ["an array of 2^63 items", frame(0xa1, 0x61, 0x61, 0x9b, 0x80, 0, 0, 0, 0, 0, 0, 0), /./],
    ["9 levels", nested(8), /8 deep/],
    ["a key twice", frame(0xa2, 0x62, 0x69, 0x64, 1, 0x62, 0x69, 0x64, 2), /same key twice/],
    ["no id", encode({ op: "ping" }), /id/],
    ["the id 0", encode({ id: 0, op: "ping" }), /id/],
    ["a negative id", encode({ id: -1, op: "ping" }), /id/],
    ["neither op nor ev nor credit", encode({ id: 1 }), /none of/],
    ["an op that is a number", encode({ id: 1, op: 5 }), /none of/],
  ];
  for (const [name, bytes, words] of cases) {
    test(name, async () => {
      host.socket.write(bytes);
      const refusal = await host.find((f) => f.id === 0);
      expect(refusal).toMatchObject({ ok: false, error: { code: "EPROTO" } });
      expect(refusal.error.message).toMatch(words);
      while (!host.closed) await host.change();
      // and the agent is there for the next
      const next = await agent.connect();
      expect(await next.response(next.request("ping"))).toMatchObject({ ok: true });
    });
  }

  test("an id that is in use", async () => {
    host.send({ id: 7, op: "exec", argv: ["sleep", "60"] });
    host.send({ id: 7, op: "ping" });
    expect((await host.find((f) => f.id === 0)).error.message).toContain("still open");
  });

  test("8 levels are no breach", async () => {
    host.socket.write(nested(7));
    expect(await host.response(1)).toMatchObject({ ok: true });
  });
});

test("random bytes: 2,000 connections of them", async () => {
  let seed = 12345;
  const random = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed >>> 16;
  };
  for (let i = 0; i < 2000; i++) {
    const connection = await agent.connect();
    const body = Buffer.from(Array.from({ length: 1 + (random() % 60) }, random));
    connection.socket.write(Buffer.concat([Buffer.from([0, 0, 0, body.length]), body]));
    connection.socket.end();
    while (!connection.closed) await connection.change();
  }
  expect(await host.response(host.request("ping"))).toMatchObject({ ok: true });
}, 60_000);

test("1,024 open calls are the limit, and ended ones make room", async () => {
  const ids = Array.from({ length: 1030 }, () => host.request("read_file", { path: "/dev/zero", window: 1 }));
  const refused = await host.response(ids[1029] ?? 0);
  expect(refused).toMatchObject({ ok: false, error: { code: "EAGAIN" } });
  for (const id of ids.slice(0, 1024)) host.send({ id, ev: "abort" });
  for (const id of ids.slice(0, 1024)) await host.response(id);
  expect(await host.response(host.request("ping"))).toMatchObject({ ok: true });
}, 30_000);

test("more connections than it serves wait for their turn", async () => {
  const many = await Promise.all(Array.from({ length: 140 }, () => agent.connect()));
  const ids = many.map((connection) => connection.request("ping"));
  const first = await Promise.race(many.map((connection, i) => connection.response(ids[i] ?? 0)));
  expect(first).toMatchObject({ ok: true });
  for (const connection of many.slice(0, 100)) connection.close();
  await Promise.all(many.slice(100).map((connection, i) => connection.response(ids[100 + i] ?? 0)));
  for (const connection of many) connection.close();
}, 30_000);

test("shutdown answers, lets open calls end, and refuses new ones", async () => {
  const other = await Agent.start();
  const connection = await other.connect();
  const running = connection.request("exec", { argv: ["sh", "-c", "read line; echo $line"], stdin: true });
  await connection.find((f: Frame) => f.id === running && f.ev === "started");
  expect(await connection.response(connection.request("shutdown"))).toMatchObject({ ok: true });
  expect(await connection.response(connection.request("ping"))).toMatchObject({
    ok: false,
    error: { code: "ECANCELED" },
  });
  connection.send({ id: running, ev: "stdin", data: Buffer.from("done\n") });
  expect(await connection.drain(running)).toMatchObject({ exitCode: 0 });
  expect(connection.payload(running, "stdout").toString()).toBe("done\n");
  expect(await other.process.exited).toBe(0);
  await other.stop();
});
