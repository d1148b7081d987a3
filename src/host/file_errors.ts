/** Errors about files of this machine, in words that name the path people know. */

import { HostFileError } from "../errors/errors.ts";

/** Runs `work`, whose errors are about `path` whatever path they name. */
export function at<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asHostError(path, error);
  }
}

export function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

function asHostError(path: string, error: unknown): unknown {
  const code = errorCode(error);
  if (error instanceof HostFileError || code === undefined || !(error instanceof Error)) return error;
  // "ENOENT: no such file or directory, open '/proc/self/fd/5/x'"
  const why = error.message.replace(/^[A-Z0-9]+: /, "").replace(/, [a-z0-9]+ '.*$/s, "");
  return new HostFileError(code, path, why, { cause: error });
}
