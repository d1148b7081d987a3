/** What each verb does where nobody takes its output: the reader has gone, the disk is full, the stream is closed. */
import { beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { compile, type Ended, MAIN, PROGRAM, redirected } from "./capsa.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
/** A file a verb: a new one is in the table. */
const VERBS = readdirSync(join(ROOT, "src/cli/verbs")).map((file) => file.replace(/\.ts$/, ""));
const FULL = "capsa: stdout cannot be written to: ENOSPC: no space left on device, write\n";
const WAYS: [name: string, command: string[]][] = [
  ["sources", [process.execPath, MAIN]],
  ["compiled", [PROGRAM]],
];

beforeAll(compile);

describe.each(WAYS)("by the %s", (way, command) => {
  test.each(VERBS)("%s", async (verb) => {
    const prints = [...command, verb, "--help"];
    const complains = [...command, verb, "--nonsense"];
    const [{ stdout: help }, complaint] = await Promise.all([
      redirected("", prints),
      redirected("", complains),
    ]);
    expect(help).toStartWith(`Usage: capsa ${verb}`);
    expect(complaint).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("--nonsense") });

    const rows: [redirection: string, command: string[], exitCode: number, rest?: Partial<Ended>][] = [
      [">&3", prints, 141],
      [">/dev/full", prints, 125, { stderr: FULL }],
      [">/dev/full 2>&1", prints, 125],
      [">&-", prints, 0],
      [">&- 2>&- <&-", prints, 0],
      ["2>&-", prints, 0, { stdout: help }],
      ["| { sleep 0.1; cat; }", prints, 0, { stdout: help }],
      ["2>&3", complains, 141],
      [">&3 2>&1", complains, 141],
      ["2>/dev/full", complains, 2],
      ["2>&-", complains, 2],
    ];
    // the sources take ten times as long, and the same way through them
    const taken =
      way === "sources" ? rows.filter(([to]) => [">&3", ">/dev/full", "2>&3"].includes(to)) : rows;
    const ended = await Promise.all(taken.map(([redirection, argv]) => redirected(redirection, argv)));
    expect(ended).toEqual(
      taken.map(([, , exitCode, rest]) => ({ exitCode, stdout: "", stderr: "", ...rest })),
    );
  });
});
