/** What the two arguments of `capsa cp` mean: a path here or in a sandbox, and where exactly something goes. */
import { UsageError } from "./failure.ts";

/** A path of this machine, or with `name` of a sandbox; there it is absolute. */
export interface CopyEnd {
  readonly name?: string;
  readonly path: string;
}

/** `NAME:PATH` is in a sandbox, as for `docker cp`; a colon behind a slash is part of a path here. */
export function parseEnd(text: string): CopyEnd {
  if (text === "-") {
    throw new UsageError(
      "a stream is none of the two that cp takes",
      "capsa exec NAME -- tar -c PATH >out.tar, or <in.tar with -x",
    );
  }
  const found = /^([^/:]+):(.*)$/s.exec(text);
  if (text === "" || found?.[2] === "")
    throw new UsageError(`"${text}" has no path`, "NAME:PATH is wanted, or PATH");
  if (found === null) return { path: text };
  const [, name, path] = found as unknown as [string, string, string];
  return { name, path: path.startsWith("/") ? path : `/${path}` };
}

/** What is at the destination: a directory (or a link to one), something else, or nothing. */
export type Found = "dir" | "other" | undefined;

export interface Copy {
  readonly from: string;
  readonly to: string;
}

/**
 * Where it goes, as cp(1) and `docker cp` have it: into a directory that is there, under its own name; else it gets the
 * name that was given. `SRC/.` means what is in SRC. Throws `UsageError` for a place that is named as a directory and is
 * none.
 */
export function placeCopy(source: string, destination: string, found: Found): Copy {
  if (found !== "dir" && destination.endsWith("/")) {
    throw new UsageError(`${destination} is no directory`, "without the slash it is the name to give");
  }
  const name = source.replace(/\/+$/, "").replace(/^.*\//s, "");
  // what has no name of its own stands for what is in it; the slash is for links, which are not followed without
  if (["", ".", ".."].includes(name)) {
    return { from: slashed(source), to: found === "dir" ? slashed(destination) : destination };
  }
  return { from: source, to: found === "dir" ? slashed(destination) + name : destination };
}

function slashed(path: string): string {
  return path.endsWith("/") ? path : `${path}/`;
}
