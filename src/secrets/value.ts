/** The value of a secret, from where its specification says. */

import { readFileSync } from "node:fs";
import { type HostFileError, SpecError } from "../errors/errors.ts";
import { hold } from "../host/hold.ts";
import type { Field } from "../spec/problem.ts";

/** Less would be found in all kinds of text, and be starred out there. */
const MIN_BYTES = 8;
/** A header of more is refused by most servers. */
const MAX_BYTES = 8192;
/** What a header's value may have in it, RFC 9110 section 5.5: a line's end would begin a header of its own. */
const VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/**
 * Read it; the newline that ends a file is not part of it. `field` is the `from` of the specification. Throws
 * {@link SpecError}, never with the value in it.
 */
export function readSecret(field: Field, from: string): string {
  const place = from.slice(from.indexOf(":") + 1);
  const value = from.startsWith("env:") ? fromEnvironment(field, place) : fromFile(field, place);
  const wrong = (why: string) => new SpecError(field, `the value in ${from} ${why}`);
  if (value === "") throw wrong("is empty");
  if (/[\r\n]/.test(value)) throw wrong("contains a line break, which a header cannot hold");
  if (!VALUE.test(value)) throw wrong("may hold only printable ASCII, without a space at either end");
  if (value.length < MIN_BYTES)
    throw wrong(`is shorter than ${MIN_BYTES} bytes: other text could contain it by chance`);
  if (value.length > MAX_BYTES) throw wrong(`is longer than ${MAX_BYTES} bytes`);
  return value;
}

function fromEnvironment(field: Field, name: string): string {
  const value = process.env[name];
  if (value !== undefined) return value;
  throw new SpecError(field, `there is no ${name} in the environment`, {
    hint: `set it where capsa is started: \`export ${name}=…\``,
  });
}

function fromFile(field: Field, path: string): string {
  try {
    using held = hold(path);
    const { status } = held;
    if (!status.isFile()) {
      throw new SpecError(field, `${path} is not a regular file`, {
        hint: 'for the output of a program: `export NAME=$(program)`, and from = "env:NAME"',
      });
    }
    if (status.size > MAX_BYTES + "\r\n".length)
      throw new SpecError(field, `the value in ${path} is longer than ${MAX_BYTES} bytes`);
    return readFileSync(held.path, "utf8").replace(/\r?\n$/, "");
  } catch (cause) {
    if (cause instanceof SpecError) throw cause;
    const { code, message, hint } = cause as HostFileError;
    if (code === "GUEST_LINK") throw new SpecError(field, message, { code, hint, cause });
    const why =
      code === "ENOENT" ? "is not there" : code === "EACCES" ? "may not be read" : `cannot be read (${code})`;
    throw new SpecError(field, `${path} ${why}`, { cause });
  }
}
