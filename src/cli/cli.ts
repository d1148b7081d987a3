/** What every verb is given: the terminal, the user's wish to stop, and a place for the exit code. */
import type { Terminal } from "./terminal.ts";

export interface Cli {
  readonly terminal: Terminal;
  /** Aborts on Ctrl-C and its like, with an {@link Interrupted}. */
  readonly signal: AbortSignal;
  exitCode: number;
}
