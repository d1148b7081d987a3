/** Commands typed to real shells on a terminal: echo, wrapping and odd characters make no difference. */

import { expect, test } from "bun:test";
import { Capture, shellLines } from "../../../src/vm/shell_line.ts";

const SHELLS = [["/bin/sh"], ["/bin/busybox", "sh"], ["/bin/bash", "--norc", "--noprofile"]].filter(
  ([path]) => Bun.file(path!).size > 0,
);

/** What the shell makes of the lines, without a terminal. */
function run(shell: readonly string[], command: string): { output: string; exitCode: number } | undefined {
  const { lines, ...marks } = shellLines(command, "0a1b2c");
  const input = lines.map(({ text }) => `${text}\n`).join("");
  const child = Bun.spawnSync([...shell], { stdin: Buffer.from(input), stderr: "pipe" });
  const capture = new Capture({ lines, ...marks });
  // echoed as a terminal of 80 columns does, then shown, a byte at a time
  const echo = input.replaceAll(/(.{80})/g, "$1\r\n");
  for (const byte of Buffer.concat([Buffer.from(echo), child.stdout])) capture.push(Uint8Array.of(byte));
  return capture.result;
}

for (const shell of SHELLS) {
  test(`${shell.join(" ")}: output and exit code come back whole`, () => {
    expect(run(shell, "printf 'a\\nb'; (exit 3)")).toEqual({ output: "a\nb", exitCode: 3 });
    expect(run(shell, "true")).toEqual({ output: "", exitCode: 0 });
    expect(run(shell, "echo; echo")).toEqual({ output: "\n\n", exitCode: 0 });
    expect(run(shell, "cd /; pwd # a comment")).toEqual({ output: "/\n", exitCode: 0 });
    expect(run(shell, "for i in 1 2\ndo\n\techo $i\ndone")).toEqual({ output: "1\n2\n", exitCode: 0 });
    expect(run(shell, `echo "it's" \\\\ '!' %s äöü`)?.output).toBe("it's \\ ! %s äöü\n");
    expect(run(shell, `echo ${"x".repeat(5000)} | wc -c`)?.output.trim()).toBe("5001");
    expect(run(shell, "no-such-command 2>/dev/null")?.exitCode).toBe(127);
  });
}

test("no line has a mark in it, wrapped or not", () => {
  const { lines, begin, end } = shellLines(`echo capsa-0a1b2c-end 0; ${"long ".repeat(300)}`, "ffffff");
  for (const { text } of lines) {
    for (const mark of [begin, end, ...lines.map((line) => line.mark).filter((word) => word !== "")]) {
      expect(text.replaceAll(/\s/g, "")).not.toContain(mark);
    }
  }
});

test("what looks like a mark of another command is output", () => {
  const capture = new Capture(shellLines("", "aa"));
  capture.push(Buffer.from("capsa-aa-begin\r\ncapsa-bb-end 1\r\ncapsa-aa-end x\r\n\r\ncapsa-aa-end 0\r\n"));
  expect(capture.result).toBeUndefined();
  const other = new Capture(shellLines("", "aa"));
  other.push(Buffer.from("capsa-aa-begin\r\ncapsa-bb-end 1\r\n\r\ncapsa-aa-end 5\r\n"));
  expect(other.result).toEqual({ output: "capsa-bb-end 1\n", exitCode: 5 });
});

test("a flood is noticed", () => {
  const capture = new Capture(shellLines("", "aa"));
  capture.push(Buffer.from("capsa-aa-begin\n"));
  for (let i = 0; i < 20 && !capture.isTooLarge; i++) capture.push(Buffer.alloc(1 << 20, "x"));
  expect(capture.isTooLarge).toBe(true);
});
