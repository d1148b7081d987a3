/** What a sandbox says when nobody listens, listens late, or does not keep up; and its events from bytes. */

import { expect, test } from "bun:test";
import { GuestEvents } from "../../../src/sandbox/guest_events.ts";
import { encodeFrame } from "../../../src/wire/framing.ts";
import { Collector, Tail } from "../../../src/wire/streams.ts";

test("without a reader the latest MiB is kept, and the loss counted", async () => {
  const tail = new Tail();
  for (let i = 0; i < 20; i++) tail.push(new Uint8Array(100_000).fill(i));
  tail.end();
  const bytes = await new Response(tail.stream).bytes();
  expect(bytes.length).toBe(1 << 20);
  expect(tail.dropped).toBe(2_000_000 - (1 << 20));
  expect(bytes.at(-1)).toBe(19);
  expect(bytes.at(0)).toBe(9);
});

test("a reader gets what comes, and all of it", async () => {
  const tail = new Tail();
  const reading = new Response(tail.stream).bytes();
  for (let i = 0; i < 30; i++) {
    tail.push(new Uint8Array(100_000).fill(i));
    await Bun.sleep(0);
  }
  tail.end();
  expect((await reading).length).toBe(3_000_000);
  expect(tail.dropped).toBe(0);
});

test("what is kept can be read after the end, and a cancelled stream keeps nothing", async () => {
  const tail = new Tail();
  tail.push(new Uint8Array([1, 2]));
  tail.end();
  tail.push(new Uint8Array([3]));
  expect([...(await new Response(tail.stream).bytes())]).toEqual([1, 2]);
  const cancelled = new Tail();
  await cancelled.stream.cancel();
  cancelled.push(new Uint8Array(10));
  expect(cancelled.dropped).toBe(10);
});

test("the last text is the last", () => {
  const last = new Collector(0, 10);
  for (const word of ["one ", "two ", "three ", "four"]) last.add(new TextEncoder().encode(word));
  expect(new TextDecoder().decode(last.bytes())).toBe("three four");
});

test("events come out of bytes cut anywhere", () => {
  const events = new GuestEvents();
  const bytes = Buffer.concat([
    encodeFrame({ ev: "main-stdout", data: new Uint8Array([1, 2]) }),
    encodeFrame({ ev: "main-exit", signal: 15 }),
  ]);
  const seen = [...bytes].flatMap((byte) => [...events.push(new Uint8Array([byte]))]);
  expect(seen).toMatchObject([{ ev: "main-stdout" }, { ev: "main-exit", exitCode: null, signal: "SIGTERM" }]);
});

test("an event stream that is none is an error", () => {
  const push = (message: object) => [...new GuestEvents().push(encodeFrame(message))];
  expect(() => push({ ev: "rm -rf" })).toThrow('"ev" should be one of');
  expect(() => push({ ev: "main-exit" })).toThrow("neither or both");
  expect(() => push({ ev: "ready", t: 5 })).toThrow("t is not a map");
  expect(() => push({ ev: "ready", t: { kernel: "soon" } })).toThrow('"kernel" should be a number');
});
