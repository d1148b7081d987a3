import { expect, test } from "bun:test";
import { Excerpt, wholeCharacters } from "../../../src/mcp/excerpt.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** What is kept of `text` when it comes in pieces of `size` bytes. */
function excerpt(text: string, limit: number, size: number): Excerpt {
  const kept = new Excerpt(limit);
  const all = bytes(text);
  for (let at = 0; at < all.length; at += size) kept.add(all.subarray(at, at + size));
  return kept;
}

test("what fits is kept whole, whatever pieces it comes in", () => {
  for (const size of [1, 2, 3, 7, 100]) {
    for (const limit of [10, 11, 40]) {
      const kept = excerpt("0123456789", limit, size);
      expect([kept.text(), kept.leftOut]).toEqual(["0123456789", 0]);
    }
  }
});

test("of what does not, the beginning and the end, and how much is missing", () => {
  for (const size of [1, 2, 3, 7, 100]) {
    const kept = excerpt("0123456789", 5, size);
    expect(kept.text()).toBe("012\n[… 5 bytes are left out here: an answer holds 5 …]\n89");
    expect(excerpt("0123456789", 1, size).text()).toStartWith("0\n[… 9 bytes");
  }
});

test("characters that were cut are left out", () => {
  const text = excerpt("€€€€€€", 8, 4).text();
  expect(text).toStartWith("€\n[");
  expect(text).toEndWith("]\n€");
  expect(text).not.toContain("\ufffd");
});

test("whole characters of a piece", () => {
  for (const [character, length] of [
    ["a", 1],
    ["ä", 2],
    ["€", 3],
    ["😀", 4],
  ] as const) {
    const all = bytes(`x${character}`);
    expect(all.length).toBe(1 + length);
    for (let cut = 1; cut < all.length; cut++) expect(wholeCharacters(all.subarray(0, cut))).toBe(1);
    expect(wholeCharacters(all)).toBe(all.length);
  }
  expect(wholeCharacters(new Uint8Array())).toBe(0);
  expect(wholeCharacters(new Uint8Array(8).fill(0x80))).toBe(8); // no text: the reader is told by its decoder
});
