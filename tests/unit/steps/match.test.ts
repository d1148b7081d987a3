import { expect, test } from "bun:test";
import { formatDuration } from "../../../src/spec/units.ts";
import { Capture, COMPARABLE, mismatches, quote } from "../../../src/steps/match.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("a text that is as expected has no mismatches", () => {
  const match = { equals: "ok: 1\nok: 2\n", contains: ["ok", "2"], matches: /^ok: 2$/mu };
  expect(mismatches("stdout", bytes("ok: 1\nok: 2\n"), match)).toEqual([]);
});

test("every expectation that is not met is told", () => {
  const match = { equals: "a", contains: ["b", "c", "d"], matches: /^e$/mu };
  expect(mismatches("stdout", bytes("c"), match)).toEqual([
    { subject: "stdout", expected: 'equals "a"', seen: '"c"' },
    { subject: "stdout", expected: 'contains "b"', seen: '"c"' },
    { subject: "stdout", expected: 'contains "d"', seen: '"c"' },
    { subject: "stdout", expected: "matches /^e$/", seen: '"c"' },
  ]);
});

test("equality is to the byte, and a difference at the end alone is pointed out", () => {
  const [found] = mismatches("stdout", bytes("hello\n"), { equals: "hello" });
  expect(found).toMatchObject({
    expected: 'equals "hello"',
    seen: '"hello\\n"',
    hint: expect.stringContaining("at the end"),
  });
});

test("bytes that are not UTF-8 do not equal the text they are shown as", () => {
  expect(mismatches("/f", new Uint8Array([0xff]), { equals: "\uFFFD" })).toHaveLength(1);
  expect(mismatches("/f", bytes("\uFEFFx"), { equals: "\uFEFFx" })).toEqual([]);
});

test("of long texts the first line that differs is shown", () => {
  const seen = bytes("one\ntwo\nthree\nfour\n");
  expect(mismatches("stdout", seen, { equals: "one\ntwo\n3\nfour\n" })).toEqual([
    { subject: "stdout", expected: 'line 3 is "3"', seen: '"three"' },
  ]);
  expect(mismatches("stdout", bytes("one\ntwo"), { equals: "one\ntwo\nthree" })).toEqual([
    { subject: "stdout", expected: 'line 3 is "three"', seen: "no such line" },
  ]);
});

test("a long text is cut, and escapes show what does not print", () => {
  expect(quote("\x1b[31m\0")).toBe('"\\u001b[31m\\u0000"');
  expect(quote("x".repeat(200))).toBe(`"${"x".repeat(160)}"… (200 characters)`);
});

test("a capture keeps the whole where it is compared, and always the end", () => {
  const whole = new Capture(true);
  const end = new Capture(false);
  for (let line = 0; line < 2000; line++) {
    whole.add(bytes(`line ${line}\n`));
    end.add(bytes(`line ${line}\n`));
  }
  expect(whole.whole()?.length).toBe(18890);
  expect(end.whole()).toBeUndefined();
  expect(end.tail()).toBe(whole.tail());
  expect(end.tail().length).toBeLessThan(4097);
  expect(end.tail()).toMatch(/^line \d+\n(line \d+\n)*line 1999\n$/);
});

test("a capture is empty, not absent, when nothing was printed", () => {
  expect(new Capture(false).whole()).toEqual(Buffer.of());
});

test("what is too long to compare is dropped", () => {
  const capture = new Capture(true);
  const chunk = new Uint8Array(1024 * 1024);
  for (let sent = 0; sent <= COMPARABLE; sent += chunk.length) capture.add(chunk);
  expect(capture.whole()).toBeUndefined();
});

test("a capture does not keep the sender's buffer", () => {
  const buffer = bytes("before");
  const capture = new Capture(true);
  capture.add(buffer);
  buffer.fill(0x58);
  expect(new TextDecoder().decode(capture.whole())).toBe("before");
  expect(capture.tail()).toBe("before");
});

test.each([
  [0, "0 ms"],
  [999, "999 ms"],
  [1234, "1.23 s"],
  [59_999, "1 min 00 s"],
  [125_000, "2 min 05 s"],
] as const)("%d ms is %s", (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});
