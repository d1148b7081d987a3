/** This terminal, handed over to a program in a sandbox: every key goes there as it is, until it is given back. */
import type { TerminalSize } from "../agent/api.ts";
import { rawModes, setTerminalModes, terminalModes } from "../host/libc.ts";
import { UsageError } from "./failure.ts";

const STDIN = 0;
/** Where nothing tells a size. */
const DEFAULT_SIZE: TerminalSize = { columns: 80, rows: 24 };

/** Throws {@link UsageError} when stdin is no terminal. */
export function requireTerminal(): void {
  if (process.stdin.isTTY) return;
  throw new UsageError("-t needs a terminal, but stdin is not one", "leave -t out when you pipe input");
}

/** Columns and rows of the terminal that output goes to. */
export function terminalSize(): TerminalSize {
  const [columns = 0, rows = 0] =
    [process.stdout, process.stderr].find(({ isTTY }) => isTTY)?.getWindowSize() ?? [];
  return columns > 0 && rows > 0 ? { columns, rows } : DEFAULT_SIZE;
}

/**
 * Raw mode as of cfmakeraw(3); Node's own leaves the translation of line ends on, which spoils what a full-screen program
 * draws. Given back by `restore`, at the end of a `using` and at this process's end.
 */
export class RawTerminal implements Disposable {
  readonly #before: Uint8Array;
  readonly #raw: Uint8Array;
  readonly #listeners: [signal: "SIGWINCH" | "SIGCONT", listener: () => void][] = [];
  #active = true;

  /** Throws {@link UsageError} when stdin is no terminal. */
  constructor() {
    requireTerminal();
    const modes = terminalModes(STDIN);
    if (modes === undefined) throw new UsageError("the terminal does not tell its modes");
    this.#before = modes;
    this.#raw = rawModes(modes);
    process.once("exit", this.restore);
    setTerminalModes(STDIN, this.#raw);
    // a shell that stopped this process has set modes of its own
    this.#on("SIGCONT", () => setTerminalModes(STDIN, this.#raw));
  }

  /** Have `listener` told of every new size. */
  onResize(listener: (size: TerminalSize) => void): void {
    this.#on("SIGWINCH", () => listener(terminalSize()));
  }

  /** Give the terminal back as it was; a second time does nothing. */
  readonly restore = (): void => {
    if (!this.#active) return;
    this.#active = false;
    for (const [signal, listener] of this.#listeners) process.off(signal, listener);
    process.off("exit", this.restore);
    setTerminalModes(STDIN, this.#before);
  };

  [Symbol.dispose](): void {
    this.restore();
  }

  #on(signal: "SIGWINCH" | "SIGCONT", listener: () => void): void {
    this.#listeners.push([signal, listener]);
    process.on(signal, listener);
  }
}
