/** What an engine is to everybody else: a file that exports one, and a line in `engines.ts`. */

import type { HostError } from "../errors/errors.ts";

/** What a look at this machine found. */
export interface Look {
  /** What was looked at: `/dev/kvm`. */
  readonly what: string;
  readonly found: string;
  /** Where it cannot be used: what a caller who asked for it by name gets. Its hint says what to do. */
  readonly refusal?: HostError;
}

export interface Engine {
  /** Whether it can be used here, and how that is known. */
  look(): Look;
  /** What it costs, where it costs something: the code of the notice, and the words. */
  readonly cost?: { readonly code: string; readonly words: string };
  /** The path of a program of its own, where it has one. Throws `HostError`. */
  program?(): string;
}
