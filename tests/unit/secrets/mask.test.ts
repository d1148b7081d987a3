/** A secret in a stream is starred out wherever the stream is cut, and nothing else is touched. */

import { expect, test } from "bun:test";
import { Mask } from "../../../src/secrets/proxy/mask.ts";

/** What comes out of it, piece by piece. */
async function through(texts: string[], pieces: readonly string[]): Promise<string[]> {
  const mask = new Mask(texts);
  const out: string[] = [];
  mask.on("data", (chunk) => out.push(String(chunk)));
  for (const piece of pieces) mask.write(piece);
  mask.end();
  await new Promise((resolve) => mask.on("end", resolve));
  return out;
}

test("at each place where a stream may be cut", async () => {
  const text = "abc secret-secreT abcsecret-secretsecret-secret-secret";
  const masked = text.replaceAll("secret-secret", "*".repeat(13));
  for (let at = 0; at <= text.length; at++) {
    const out = await through(["secret-secret"], [text.slice(0, at), text.slice(at)]);
    expect(out.join("")).toBe(masked);
  }
  expect((await through(["secret-secret"], [...text])).join("")).toBe(masked);
});

test("several, of different lengths", async () => {
  const out = await through(
    ["one-value", "another-value-of-it"],
    ["<one-value><another-va", "lue-of-it><one-valu>"],
  );
  expect(out.join("")).toBe(`<${"*".repeat(9)}><${"*".repeat(19)}><one-valu>`);
});

test("only what may be a beginning waits for more", async () => {
  expect(await through(["secret"], ["line\n", "sec", "ond\n"])).toEqual(["line\n", "second\n"]);
});
