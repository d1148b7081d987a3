/** What is wrong with a value, and where: by keys, which whoever tells it shows in the form that its reader wrote. */
import { SpecError } from "../errors/errors.ts";

/** Keys of tables and, as numbers from 0 on, elements of lists. */
export type Path = readonly (string | number)[];

/** The same, or one key. */
export type Field = string | Path;

export const below = (field: Field, ...keys: Path): Path => [...[field].flat(), ...keys];

export interface Problem {
  readonly path: Path;
  /** What is wrong and why, one sentence, without the place. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string | undefined;
  /** It is about the key, not about what is given for it. */
  readonly ofKey?: true;
  readonly code?: SpecError["code"];
  readonly cause?: unknown;
}

export type Report = (
  path: Path,
  message: string,
  hint?: string,
  more?: Pick<Problem, "ofKey" | "code" | "cause">,
) => void;

/** Adds to `problems`, of each place the first: what is said of it later mostly follows from that. */
export function reporter(problems: Problem[]): Report {
  const known = new Set(problems.map(({ path }) => JSON.stringify(path)));
  return (path, message, hint, more = {}) => {
    const place = JSON.stringify(path);
    if (known.has(place)) return;
    known.add(place);
    problems.push({ path, message, ...(hint === undefined ? {} : { hint }), ...more });
  };
}

/** What `work` gives; undefined where it throws a `SpecError`, which is reported as below `path`. */
export function reporting<T>(report: Report, path: Path, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    const { code, cause } = error;
    report([...path, ...error.path], error.why, error.hint, {
      code: code as NonNullable<Problem["code"]>,
      cause,
    });
    return undefined;
  }
}

/** Throws `SpecError` for the first problem, if there is one. */
export function refuseFirst([first]: readonly Problem[]): void {
  if (first === undefined) return;
  const { path, message, hint, code, cause } = first;
  throw new SpecError(path, message, { hint, cause, ...(code === undefined ? {} : { code }) } as object);
}
