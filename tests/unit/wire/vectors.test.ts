/** The recorded frames of guest/vectors, which the guest is tested against as well. */

import { expect, test } from "bun:test";
import { readGuestEvent } from "../../../src/sandbox/guest_events.ts";
import {
  decodeCbor,
  encodeCbor,
  encodeDataFrame,
  encodeFrame,
  FrameDecoder,
  type Message,
} from "../../../src/wire/framing.ts";

interface Vector {
  name: string;
  from: "host" | "guest";
  hex: string;
  value: Message;
}

async function vectors(file: string): Promise<Vector[]> {
  const raw: Vector[] = await Bun.file(
    new URL(`../../../guest/vectors/${file}.json`, import.meta.url),
  ).json();
  return raw.map((vector) => ({ ...vector, value: withBytes(vector.value) as Message }));
}

/** `{ $bytes: hex }` is a byte string. */
function withBytes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withBytes);
  if (typeof value !== "object" || value === null) return value;
  if ("$bytes" in value) return Uint8Array.from(Buffer.from(value.$bytes as string, "hex"));
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withBytes(member)]));
}

/** Numbers and bytes in one form each: a large whole number decodes as bigint, bytes as Buffer. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]));
}

function decodeFrames(hex: string): Message[] {
  return [...new FrameDecoder().push(Buffer.from(hex, "hex"))].map(([message]) => message);
}

for (const file of ["requests", "responses", "events"]) {
  for (const { name, from, hex, value } of await vectors(file)) {
    test(`${file}: ${name}`, () => {
      expect(decodeFrames(hex).map(plain)).toEqual([value]);
      // the other forms of the same are what a host may also write
      if (from === "host" && !name.endsWith("as cbor-x writes it"))
        expect(Buffer.from(encodeFrame(value)).toString("hex")).toBe(hex);
    });
  }
}

for (const { name, hex, value } of await vectors("plan")) {
  test(`plan: ${name}`, () => {
    expect(plain(decodeCbor(Buffer.from(hex, "hex")))).toEqual(value);
    expect(Buffer.from(encodeCbor(value)).toString("hex")).toBe(hex);
  });
}

test("every recorded event of the guest is understood", async () => {
  for (const { value } of await vectors("events")) expect(readGuestEvent(value).ev).toBe(value.ev as never);
});

test("a data frame is what the encoder makes of the same message", () => {
  for (const size of [0, 1, 23, 24, 255, 256, 65_536]) {
    const data = new Uint8Array(size).fill(7);
    const frame = Buffer.from(encodeDataFrame(70_000, "stdin", data));
    expect(decodeFrames(frame.toString("hex")).map(plain)).toEqual([{ id: 70_000, ev: "stdin", data }]);
  }
});
