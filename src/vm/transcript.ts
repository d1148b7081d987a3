/** What a console has shown, and those who wait for more of it. */

import { ConsoleError } from "../errors/errors.ts";
import type { ConsoleMatch, WaitOptions } from "./console_api.ts";

/** Characters kept. */
const LIMIT = 1_000_000;
const TIMEOUT_MS = 30_000;
const TAIL_LINES = 25;
/** A RegExp that matches up to the end, within a line, might match more, or not any more, with what is on its way. */
const QUIET_MS = 50;

export type AnyMatch = ConsoleMatch & { readonly index: number };

interface Found extends AnyMatch {
  readonly end: number;
  readonly isFinal: boolean;
}

interface Waiter {
  readonly patterns: readonly (string | RegExp)[];
  /** "the console showed …": what time runs out before. */
  readonly goal: string;
  readonly resolve: (match: AnyMatch) => void;
  readonly reject: (error: unknown) => void;
  quiet: ReturnType<typeof setTimeout> | undefined;
}

export class Transcript {
  #text = "";
  /** Where waiting begins: behind the last match. */
  #from = 0;
  #ended: string | undefined;
  readonly #waiters = new Set<Waiter>();
  #isDue = false;

  get text(): string {
    return this.#text.slice(-LIMIT);
  }

  /** The last lines, for errors. */
  get tail(): string {
    return this.#text.trimEnd().split("\n").slice(-TAIL_LINES).join("\n");
  }

  add(text: string): void {
    this.#text += text;
    const excess = this.#text.length - LIMIT;
    if (excess > LIMIT / 4) {
      this.#text = this.#text.slice(excess);
      this.#from = Math.max(0, this.#from - excess);
    }
    // a serial port brings a few bytes at a time: all that is here is looked at once
    if (this.#isDue || this.#waiters.size === 0) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      for (const waiter of this.#waiters) this.#look(waiter);
    });
  }

  /** Nothing more comes: `why` is told to those who still wait. */
  end(why: string): void {
    this.#ended = why;
    for (const waiter of this.#waiters) this.#look(waiter);
  }

  /** The next wait sees the current line from its beginning, matched before or not. */
  rewindLine(): void {
    this.#from = Math.min(this.#from, this.#text.lastIndexOf("\n") + 1);
  }

  /** Rejects with {@link ConsoleError}, which says before what it was, or with the signal's reason. */
  waitForAny(
    patterns: readonly (string | RegExp)[],
    options: WaitOptions = {},
    goal = `the console showed ${words(patterns)}`,
  ): Promise<AnyMatch> {
    const { timeoutMs = TIMEOUT_MS, signal } = options;
    signal?.throwIfAborted();
    return new Promise<AnyMatch>((resolve, reject) => {
      const settled = () => {
        this.#waiters.delete(waiter);
        clearTimeout(timer);
        clearTimeout(waiter.quiet);
        signal?.removeEventListener("abort", abort);
      };
      const waiter: Waiter = {
        patterns: patterns.map(fromHere),
        goal,
        resolve: (match) => {
          settled();
          resolve(match);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
        quiet: undefined,
      };
      const abort = () => waiter.reject(signal?.reason);
      const timer = setTimeout(() => {
        waiter.reject(
          new ConsoleError("CONSOLE_TIMEOUT", `${timeoutMs} ms passed before ${goal}`, this.tail),
        );
      }, timeoutMs);
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiters.add(waiter);
      this.#look(waiter);
    });
  }

  #look(waiter: Waiter, isQuiet = false): void {
    clearTimeout(waiter.quiet);
    const found = this.#find(waiter.patterns);
    if (found !== undefined && (found.isFinal || isQuiet || this.#ended !== undefined)) {
      this.#from = found.end;
      const { index, text, groups, before } = found;
      waiter.resolve({ index, text, groups, before });
    } else if (found !== undefined) {
      waiter.quiet = setTimeout(() => this.#look(waiter, true), QUIET_MS);
    } else if (this.#ended !== undefined) {
      waiter.reject(new ConsoleError("VM_ENDED", `${this.#ended} before ${waiter.goal}`, this.tail));
    }
  }

  /** The match that begins first. */
  #find(patterns: readonly (string | RegExp)[]): Found | undefined {
    const rest = this.#text.slice(this.#from);
    let first: { at: number; index: number; text: string; groups: (string | undefined)[] } | undefined;
    patterns.forEach((pattern, index) => {
      const [at, text, groups] = search(rest, pattern);
      if (at >= 0 && (first === undefined || at < first.at)) first = { at, index, text, groups };
    });
    if (first === undefined) return undefined;
    const { at, index, text, groups } = first;
    const end = at + text.length;
    return {
      index,
      text,
      groups,
      before: rest.slice(0, at),
      end: this.#from + end,
      isFinal: typeof patterns[index] === "string" || end < rest.length || text.endsWith("\n"),
    };
  }
}

function search(
  text: string,
  pattern: string | RegExp,
): [at: number, text: string, groups: (string | undefined)[]] {
  if (typeof pattern === "string") return [text.indexOf(pattern), pattern, []];
  const match = pattern.exec(text);
  return match === null ? [-1, "", []] : [match.index, match[0], match.slice(1)];
}

/** Without the state that `g` and `y` give a RegExp. */
function fromHere(pattern: string | RegExp): string | RegExp {
  return typeof pattern === "string"
    ? pattern
    : new RegExp(pattern.source, pattern.flags.replaceAll(/[gy]/g, ""));
}

function words(patterns: readonly (string | RegExp)[]): string {
  return patterns
    .map((pattern) => (typeof pattern === "string" ? JSON.stringify(pattern) : String(pattern)))
    .join(" or ");
}
