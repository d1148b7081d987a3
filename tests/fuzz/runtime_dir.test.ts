/** tests/fuzz/runtime_dir.ts, for FUZZ_SECONDS (5 by default): its FUZZ_SEED is told where it fails. */

import { expect, test } from "bun:test";
import { join } from "node:path";

const seconds = Number(process.env.FUZZ_SECONDS ?? 5);
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
/** A round that is about nothing but files and waits for none takes milliseconds; a FIFO is waited for, for ever. */
const SILENCE_MS = 30_000;

test(
  "runtime_dir",
  async () => {
    const run = Bun.spawn(
      [process.execPath, join(import.meta.dir, "runtime_dir.ts"), `${seconds}`, `${seed}`],
      {
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    let log = "";
    let hangs = false;
    const kill = () => {
      hangs = true;
      run.kill("SIGKILL");
    };
    let silence = setTimeout(kill, SILENCE_MS);
    const errors = run.stderr.text();
    for await (const chunk of run.stdout.pipeThrough(new TextDecoderStream())) {
      log = `${log}${chunk}`.slice(-2000);
      clearTimeout(silence);
      silence = setTimeout(kill, SILENCE_MS);
    }
    clearTimeout(silence);
    const code = await run.exited;
    if (code !== 0)
      throw new Error(`${hangs ? "it hangs" : `exit code ${code}`}, seed ${seed}:\n${log}\n${await errors}`);
    expect(Number(/^rounds: (\d+)$/m.exec(log)?.[1] ?? 0)).toBeGreaterThan(0);
  },
  seconds * 1000 + 2 * SILENCE_MS,
);
