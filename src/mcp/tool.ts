/** What a tool is: a file in `tools` and a line in its index. */

import { type Static, type TObject, type TSchema, Type } from "@sinclair/typebox";
import { dotted } from "../config/problem.ts";
import { CapsaError } from "../errors/errors.ts";
import { check } from "../spec/check.ts";
import { closed, optional, words } from "../spec/forms.ts";
import type { Sandboxes } from "./sandboxes.ts";

/** What one call has at hand. */
export interface Call {
  readonly sandboxes: Sandboxes;
  /** Aborts when the client cancels the call, or is gone. */
  readonly signal: AbortSignal;
}

export interface Tool<Input extends TObject = TObject> {
  readonly name: string;
  /** For the model, limits included. */
  readonly description: string;
  readonly input: Input;
  /** The protocol's hints for whoever asks a person first. */
  readonly hints: { readonly readOnlyHint: boolean; readonly destructiveHint?: boolean };
  /** Gives plain data. What it throws becomes the answer's error. */
  run(args: Static<Input>, call: Call): Promise<Readonly<Record<string, unknown>>>;
}

/** The arguments of a tool: no other names than these. */
export function inputs<T extends Record<string, TSchema>>(properties: T): TObject<T> {
  return Type.Object(properties, { ...closed, expected: "an object of its arguments" });
}

export const sandboxName = Type.String({ description: "Its name, as `create` gave it.", expected: "a name" });

/** Text, or bytes that are none. */
export const encoding = optional(words(["text", "base64"], "text (the default): UTF-8; base64: any bytes."));

/** Throws `CapsaError` `ARGUMENTS` with all that is wrong with what the model gave. */
export function checkArguments(tool: Tool, args: unknown): void {
  const problems = [...check(tool.input, args, [tool.name])];
  if (problems.length === 0) return;
  const told = problems.map(({ path, message, hint }) => {
    const said = `${dotted(path)}: ${message}`;
    return hint ? `${said} (${hint})` : said;
  });
  throw new CapsaError("ARGUMENTS", told.join("\n"));
}
