/** Paths of this machine as people write them: a shell would expand some, and nobody does here. */
import { resolve } from "node:path";
import { SpecError } from "../errors/errors.ts";

const UNEXPANDED = /^(?!\.\/)(?:~|.*\$\{\w+\}|\$\w+(?:\/|$))/s;

/** What is wrong with a path that a shell would make another of, and the mend; undefined of any other. */
export function unexpanded(path: string): readonly [why: string, mend: string] | undefined {
  if (!UNEXPANDED.test(path)) return undefined;
  return [
    `${JSON.stringify(path)} would be taken as it is: \`~\` and variables are not expanded`,
    `write the whole path; ${JSON.stringify(`./${path}`)} if that is its name`,
  ];
}

/** The absolute path. Throws {@link SpecError} for what is not expanded. */
export function absolutePath(field: string, path: string): string {
  const wrong = unexpanded(path);
  if (wrong !== undefined) throw new SpecError(field, wrong[0], { hint: wrong[1] });
  return resolve(path);
}
