/** A line on a terminal's stderr, redrawn, for what takes longer than half a second. */
import { printableLine } from "../errors/printable.ts";
import type { Terminal } from "./terminal.ts";

const PATIENCE_MS = 500;
const FRAME_MS = 100;
const FRAMES = ["|", "/", "-", "\\"];
/** Of the text, characters: what takes two lines cannot be drawn over. */
const LONGEST = 60;
/** To the line's begin, and nothing on it. */
const CLEAR = "\r\x1b[K";

/** A line that says what goes on until `stop` is called, where a person looks at it. */
export function startProgress(terminal: Terminal, text: string): { stop(): void } {
  if (!terminal.interactive) return { stop() {} };
  const shown = printableLine(text).slice(0, LONGEST);
  const began = performance.now();
  let frame = 0;
  const draw = () => {
    const seconds = Math.floor((performance.now() - began) / 1000);
    const mark = FRAMES[frame++ % FRAMES.length];
    void terminal.writeError(`${CLEAR}${mark} ${shown}${seconds > 0 ? `  ${seconds} s` : ""}`);
    timer = setTimeout(draw, FRAME_MS);
  };
  let timer = setTimeout(draw, PATIENCE_MS);
  return {
    stop() {
      clearTimeout(timer);
      if (frame > 0) void terminal.writeError(CLEAR);
      frame = 0;
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
