/** The console of a raw VM: what it shows is kept and waited for, what is typed goes to its serial port. */

import { guardMethods } from "../errors/edge.ts";
import { ArgumentError, ConsoleError, VmmError } from "../errors/errors.ts";
import type { Machine } from "../machine/machine.ts";
import { Tail } from "../wire/streams.ts";
import type { ConsoleExecResult, ConsoleMatch, VmConsole, WaitOptions } from "./console_api.ts";
import { Capture, shellLines } from "./shell_line.ts";
import { TerminalText } from "./terminal_text.ts";
import { type AnyMatch, Transcript } from "./transcript.ts";

const TIMEOUT_MS = 30_000;
const INTERRUPT = "\x03";
const EOF = "\x04";
/** The VMM keeps 64 KiB for a guest that does not read. */
const PIECE = 4096;
const FULL_PAUSE_MS = 20;
const FULL_PATIENCE_MS = 10_000;

const LOGIN = /login: */i;
const PASSWORD = /password: */i;
const REFUSED = /login incorrect|authentication failure|permission denied/i;
/** The end of what shells show when they wait. */
const PROMPT = /[#$%>] ?$/;

export class SerialConsole implements VmConsole {
  readonly #output = new Tail();
  readonly #terminal = new TerminalText();
  readonly #transcript = new Transcript();
  #machine: Machine | undefined;
  #capture: { readonly push: (data: Uint8Array) => void } | undefined;
  #typed: Promise<void> = Promise.resolve();

  /** The VM runs: from now on one can type. */
  connect(machine: Machine): void {
    this.#machine = machine;
  }

  show(data: Uint8Array): void {
    this.#output.push(data);
    this.#transcript.add(this.#terminal.push(data));
    this.#capture?.push(data);
  }

  /** `why`: "the VM ended (shutdown)". */
  end(why: string): void {
    this.#output.end();
    this.#transcript.end(why);
  }

  get output(): ReadableStream<Uint8Array> {
    return this.#output.stream;
  }

  text(): string {
    return this.#transcript.text;
  }

  waitFor(pattern: string | RegExp, options?: WaitOptions): Promise<ConsoleMatch> {
    return this.waitForAny([pattern], options).then(({ text, groups, before }) => ({ text, groups, before }));
  }

  async waitForAny(patterns: readonly (string | RegExp)[], options?: WaitOptions): Promise<AnyMatch> {
    return this.#transcript.waitForAny(patterns, options);
  }

  write(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data.slice();
    const written = this.#typed.then(() => this.#send(bytes));
    this.#typed = written.catch(() => {});
    return written;
  }

  writeLine(line: string): Promise<void> {
    return this.write(`${line}\n`);
  }

  sendInterrupt(): Promise<void> {
    return this.write(INTERRUPT);
  }

  sendEof(): Promise<void> {
    return this.write(EOF);
  }

  async #send(bytes: Uint8Array): Promise<void> {
    if (this.#machine === undefined) throw new VmmError("NOT_STARTED", "the VM has not been started");
    const deadline = performance.now() + FULL_PATIENCE_MS;
    for (let at = 0; at < bytes.length; ) {
      const data = bytes.subarray(at, at + PIECE);
      try {
        await this.#machine.request("console", { data });
        at += data.length;
      } catch (error) {
        const isFull = error instanceof VmmError && error.code === "EAGAIN";
        if (!isFull || performance.now() > deadline) throw error;
        await Bun.sleep(FULL_PAUSE_MS);
      }
    }
  }

  async login(user: string, password?: string, options: WaitOptions = {}): Promise<void> {
    const limited = remaining(options);
    this.#transcript.rewindLine(); // the prompt may have been waited for already
    await this.waitFor(LOGIN, limited());
    await this.writeLine(user);
    let left = password;
    for (;;) {
      const { index } = await this.waitForAny([REFUSED, PASSWORD, PROMPT], limited());
      if (index === 2) break;
      if (index === 0) throw this.#refused(`the guest refused user "${user}"`);
      if (left === undefined) {
        throw this.#refused(`the guest asks for a password of user "${user}"${password ? " again" : ""}`);
      }
      await this.writeLine(left);
      left = undefined;
    }
    await this.exec("true", limited()); // what looks like a prompt is one if it obeys
  }

  #refused(message: string): ConsoleError {
    return new ConsoleError("LOGIN_FAILED", message, this.#transcript.tail);
  }

  async exec(command: string, options: WaitOptions = {}): Promise<ConsoleExecResult> {
    if (command.includes("\0")) throw new ArgumentError("a command cannot have a NUL character in it");
    if (this.#capture !== undefined) {
      throw new VmmError("EBUSY", "another exec is under way on this console; wait for it first");
    }
    const lines = shellLines(command, crypto.getRandomValues(Buffer.alloc(4)).toString("hex"));
    const capture = new Capture(lines);
    const { promise: flooded, reject } = Promise.withResolvers<never>();
    flooded.catch(() => {});
    this.#capture = {
      push: (data) => {
        capture.push(data);
        if (capture.isTooLarge) {
          const message = "the command printed more than 16 MiB";
          reject(new ConsoleError("OUTPUT_TOO_LARGE", message, "", { hint: "send its output to a file" }));
        }
      },
    };
    try {
      const limited = remaining(options);
      const goal = `the command ${JSON.stringify(command.slice(0, 200))} ended on the console`;
      const shown = (mark: string | RegExp) => this.#transcript.waitForAny([mark], limited(), goal);
      for (const { text, mark } of lines.lines) {
        await this.writeLine(text);
        if (mark !== "") await shown(mark);
      }
      await Promise.race([flooded, shown(new RegExp(`${lines.end} \\d+\\n`))]);
      return capture.result!;
    } catch (error) {
      if (!(error instanceof ConsoleError && error.code === "VM_ENDED")) {
        await this.sendInterrupt().catch(() => {}); // so that the console is of use again
      }
      throw error;
    } finally {
      this.#capture = undefined;
    }
  }
}

guardMethods(SerialConsole.prototype);

/** The same options again and again, with the time that is left of the whole. */
function remaining({ timeoutMs = TIMEOUT_MS, ...rest }: WaitOptions): () => WaitOptions {
  const deadline = performance.now() + timeoutMs;
  return () => ({ ...rest, timeoutMs: Math.max(0, Math.ceil(deadline - performance.now())) });
}
