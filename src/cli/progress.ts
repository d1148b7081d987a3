/** A spinner on a terminal's stderr for what takes longer than half a second. */
import type { Ora } from "ora";
import { printableLine } from "../printable.ts";
import type { Terminal } from "./terminal.ts";

const PATIENCE_MS = 500;

/** A line that says what goes on until `stop` is called, where a person looks at it. */
export function startProgress(terminal: Terminal, text: string): { stop(): void } {
  if (!terminal.interactive) return { stop() {} };
  const shown = printableLine(text);
  const began = performance.now();
  let spinner: Ora | undefined;
  let stopped = false;
  const delay = setTimeout(async () => {
    const { default: ora } = await import("ora"); // most work is done before it is needed
    if (!stopped) spinner = ora({ text: shown, stream: process.stderr, discardStdin: false }).start();
  }, PATIENCE_MS);
  const tick = setInterval(() => {
    if (spinner) spinner.text = `${shown}  ${Math.floor((performance.now() - began) / 1000)} s`;
  }, 1000);
  return {
    stop() {
      clearTimeout(delay);
      clearInterval(tick);
      stopped = true;
      spinner?.stop();
    },
  };
}

/** The outcome of `work`, with progress shown meanwhile. */
export async function withProgress<T>(terminal: Terminal, text: string, work: Promise<T>): Promise<T> {
  const progress = startProgress(terminal, text);
  try {
    return await work;
  } finally {
    progress.stop();
  }
}
