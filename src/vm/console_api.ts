/** The console of a raw VM, as its callers see it: something to read, to wait for, and to type on. */

export interface WaitOptions {
  /** Limit, milliseconds (30,000). */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** What was waited for. */
export interface ConsoleMatch {
  /** The text that matched. */
  readonly text: string;
  /** The groups of a RegExp, by number from 1 on. */
  readonly groups: readonly (string | undefined)[];
  /** What came before it, from the end of the last match on. */
  readonly before: string;
}

export interface ConsoleExecResult {
  /** What the command has printed, its standard error included, as the terminal showed it. */
  readonly output: string;
  readonly exitCode: number;
}

/**
 * Text is what a terminal would show: line ends are `\n`, and sequences that a terminal obeys are left out. Waiting goes
 * forward: each match begins behind the last one, and what came before the call counts.
 */
export interface VmConsole {
  /** Every byte as it comes. Until somebody reads the last 1 MiB is kept; a reader may lag 64 MiB. */
  readonly output: ReadableStream<Uint8Array>;

  /**
   * What it has shown, the last million characters of it.
   * @example const log = vm.console.text();
   */
  text(): string;

  /**
   * Wait for a text, or for what a RegExp matches. Rejects with `ConsoleError`: `CONSOLE_TIMEOUT`, or `VM_ENDED`.
   * @example await vm.console.waitFor("login:", { timeoutMs: 60_000 });
   * @example const { groups } = await vm.console.waitFor(/Linux version (\S+)/);
   */
  waitFor(pattern: string | RegExp, options?: WaitOptions): Promise<ConsoleMatch>;

  /**
   * Wait for the first of several; `index` says which. Where two are there, it is the one that begins first.
   * @example const { index } = await vm.console.waitForAny(["login:", /Kernel panic/]);
   */
  waitForAny(
    patterns: readonly (string | RegExp)[],
    options?: WaitOptions,
  ): Promise<ConsoleMatch & { readonly index: number }>;

  /**
   * Type. Rejects with `VmmError` when the VM does not run.
   * @example await vm.console.write("\x1b");
   */
  write(data: string | Uint8Array): Promise<void>;

  /**
   * Type a line and Enter.
   * @example await vm.console.writeLine("uname -a");
   */
  writeLine(line: string): Promise<void>;

  /**
   * Type Ctrl-C, which interrupts what runs in the foreground.
   * @example await vm.console.sendInterrupt();
   */
  sendInterrupt(): Promise<void>;

  /**
   * Type Ctrl-D: on an empty line the end of input.
   * @example await vm.console.sendEof();
   */
  sendEof(): Promise<void>;

  /**
   * Log in at a `login:` prompt, which is waited for, and wait until the shell answers. Rejects with `ConsoleError`
   * `LOGIN_FAILED`, or as `waitFor`.
   * @example await vm.console.login("root", "secret");
   */
  login(user: string, password?: string, options?: WaitOptions): Promise<void>;

  /**
   * Run a command in the POSIX shell that waits at the console's prompt: in the shell itself, so that `cd` lasts. What
   * the kernel prints meanwhile is in the output too. After `timeoutMs` (30,000) the command is interrupted, and
   * `ConsoleError` `CONSOLE_TIMEOUT` thrown. An interrupted command has the exit code 130.
   * @example const { output, exitCode } = await vm.console.exec("cat /etc/os-release");
   */
  exec(command: string, options?: WaitOptions): Promise<ConsoleExecResult>;
}
