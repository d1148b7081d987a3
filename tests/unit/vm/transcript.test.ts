/** What a console shows, and waiting for it: patterns in pieces, limits, ends. */

import { expect, test } from "bun:test";
import { TerminalText } from "../../../src/vm/terminal_text.ts";
import { Transcript } from "../../../src/vm/transcript.ts";

const text = (...pieces: string[]) => {
  const terminal = new TerminalText();
  return pieces.map((piece) => terminal.push(new TextEncoder().encode(piece))).join("");
};

test("what a terminal obeys is left out, however it is cut", () => {
  const shown =
    "\x1b[1;31mred\x1b[0m\r\n\x1b]0;title\x07tab\there\x1b[6n\x1b(B\x08\x00 äöü\x1b]8;;x\x1b\\link\r\n";
  expect(text(shown)).toBe("red\ntab\there äöülink\n");
  expect(text(...shown)).toBe("red\ntab\there äöülink\n");
});

test("a sequence that never ends swallows no more than its line, and a string its limit", () => {
  expect(text("\x1b[12\nnext")).toBe("\nnext");
  expect(text(`\x1b]${"x".repeat(10_000)}y`).length).toBeGreaterThan(5000);
});

test("bytes of a character may come apart, and what is no text is shown as such", () => {
  const terminal = new TerminalText();
  expect(terminal.push(Uint8Array.of(0xc3)) + terminal.push(Uint8Array.of(0xa4, 0xff, 0x41))).toBe("ä�A");
});

test("a match is found in what has come and in what comes, forward only", async () => {
  const transcript = new Transcript();
  transcript.add("one two ");
  expect(await transcript.waitForAny(["two", "one"])).toMatchObject({ index: 1, text: "one", before: "" });
  const later = transcript.waitForAny(["one", /th(r+)ee\n/]);
  transcript.add("thr");
  transcript.add("ee\none\n");
  expect(await later).toMatchObject({ index: 1, text: "three\n", groups: ["r"], before: " two " });
  expect(await transcript.waitForAny(["one"])).toMatchObject({ before: "" });
  await expect(transcript.waitForAny(["one"], { timeoutMs: 20 })).rejects.toMatchObject({
    code: "CONSOLE_TIMEOUT",
    message:
      '20 ms passed before the console showed "one"\nlast lines of the console:\n  one two three\n  one',
  });
});

test("a RegExp waits for the rest of what it might match", async () => {
  const transcript = new Transcript();
  const version = transcript.waitForAny([/version (\S+)/]);
  transcript.add("version 6");
  await Bun.sleep(1);
  transcript.add(".1.0 ");
  expect((await version).groups).toEqual(["6.1.0"]);
  const prompt = transcript.waitForAny([/[#$] $/]);
  transcript.add("costs 5 $ ");
  await Bun.sleep(1);
  transcript.add("or so\n~ # ");
  expect((await prompt).text).toBe("# ");
});

test("state of a RegExp does not matter, nor does it gain any", async () => {
  const transcript = new Transcript();
  const pattern = /a/g;
  pattern.lastIndex = 5;
  transcript.add("a a\n");
  await transcript.waitForAny([pattern]);
  await transcript.waitForAny([pattern]);
  expect(pattern.lastIndex).toBe(5);
});

test("the current line can be seen again", async () => {
  const transcript = new Transcript();
  transcript.add("booting\nhost login: ");
  await transcript.waitForAny(["login: "]);
  transcript.rewindLine();
  expect(await transcript.waitForAny(["login: "])).toMatchObject({ before: "host " });
});

test("who waits is told of the end, with its reason, after what came last", async () => {
  const transcript = new Transcript();
  const [good, bad] = [transcript.waitForAny([/last$/]), transcript.waitForAny(["never"])];
  transcript.add("the last");
  transcript.end("the VM ended (shutdown)");
  expect((await good).text).toBe("last");
  await expect(bad).rejects.toMatchObject({
    name: "ConsoleError",
    code: "VM_ENDED",
    message: expect.stringContaining('the VM ended (shutdown) before the console showed "never"'),
  });
  await expect(transcript.waitForAny(["more"])).rejects.toMatchObject({ code: "VM_ENDED" });
});

test("a signal ends the wait", async () => {
  const transcript = new Transcript();
  const controller = new AbortController();
  const wait = transcript.waitForAny(["never"], { signal: controller.signal });
  controller.abort(new Error("enough"));
  await expect(wait).rejects.toThrow("enough");
});

test("a flood is kept to a million characters", async () => {
  const transcript = new Transcript();
  for (let i = 0; i < 30; i++) transcript.add(`${"x".repeat(100_000)}\n`);
  transcript.add("end\n");
  expect(transcript.text.length).toBe(1_000_000);
  expect((await transcript.waitForAny(["end"])).before.length).toBeLessThan(1_300_000);
});
