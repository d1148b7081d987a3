/** What is at a path of the host that a `capsa.toml` names, or why that cannot be known. */
import { type Stats, statSync } from "node:fs";

/** Other reasons than that there is nothing. */
const REASONS: Readonly<Record<string, string>> = {
  EACCES: "this user may not look there",
  ELOOP: "its links lead in a circle",
  ENAMETOOLONG: "it is longer than a path may be, or a name in it",
};

export interface Nothing {
  /** Where the path may yet come to be. */
  readonly missing: boolean;
  /** "there is no file /a/b": `what` is in its place, such as "file ". */
  readonly why: string;
}

/** Links are followed. `what` is for the words: "", or "directory " where one is looked for. */
export function lookUp(path: string, what = ""): Stats | Nothing {
  try {
    return statSync(path);
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return { missing: true, why: `there is no ${what}${path}` };
    return { missing: false, why: `${path} cannot be used: ${REASONS[code] ?? message}` };
  }
}
