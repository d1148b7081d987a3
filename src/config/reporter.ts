/** How the checks behind the schema tell a problem: with its place in the file. */

import { dotted } from "../spec/check.ts";
import type { Reporter } from "../spec/forms.ts";
import type { Positions } from "./positions.ts";
import type { Problem } from "./problem.ts";

/** A reporter that adds to `problems`, each at its value, or at its key when `path` names a table. */
export function reporter(positions: Positions, problems: Problem[]): Reporter {
  return (path, message, hint) => {
    const position = positions.value(path) ?? positions.nearest(path);
    problems.push({
      ...position,
      key: dotted(path),
      message: `${dotted(path)}: ${message}`,
      ...(hint ? { hint } : {}),
    });
  };
}
