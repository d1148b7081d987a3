import { expect, test } from "bun:test";
import { startProgress } from "../../../src/cli/progress.ts";
import { Terminal } from "../../../src/cli/terminal.ts";

class Watched extends Terminal {
  readonly written: string[] = [];
  readonly #interactive: boolean;

  constructor(interactive: boolean) {
    super({ signal: new AbortController().signal, end() {} });
    this.#interactive = interactive;
  }

  override get interactive(): boolean {
    return this.#interactive;
  }

  override async writeError(chunk: string | Uint8Array): Promise<void> {
    this.written.push(String(chunk));
  }
}

test("what takes its time is told in a line that goes again", async () => {
  const terminal = new Watched(true);
  const progress = startProgress(terminal, "booting a\x1b[31m");
  while (terminal.written.length < 2) await Bun.sleep(10);
  progress.stop();
  progress.stop();
  const [first, second] = terminal.written;
  expect([first, second, terminal.written.at(-1)]).toEqual([
    "\r\x1b[K| booting a\\x1b[31m",
    "\r\x1b[K/ booting a\\x1b[31m",
    "\r\x1b[K",
  ]);
});

test("what does not, or where nobody looks, is told of in none", async () => {
  const terminals = [new Watched(true), new Watched(false)];
  for (const terminal of terminals) startProgress(terminal, "booting").stop();
  expect(terminals.map(({ written }) => written)).toEqual([[], []]);
});
