/** What is at a path of this machine, or why that cannot be known. */
import { type Stats, statSync } from "node:fs";

/** Other reasons than that there is nothing. */
export const REASONS: Readonly<Record<string, string>> = {
  EACCES: "this user may not look there",
  ELOOP: "its links lead in a circle",
  ENAMETOOLONG: "it is longer than a path may be, or a name in it",
};

export interface Nothing {
  /** Where the path may yet come to be. */
  readonly missing: boolean;
  readonly why: string;
}

/** Links are followed. */
export function lookUp(path: string): Stats | Nothing {
  try {
    return statSync(path);
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return { missing: true, why: `there is no ${path}` };
    return { missing: false, why: `${path} cannot be used: ${REASONS[code] ?? message}` };
  }
}
