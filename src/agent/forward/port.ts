/** TCP ports. */

import { SpecError } from "../../errors/errors.ts";
import { shown } from "../../errors/printable.ts";

/** The port itself. Throws {@link SpecError} for what is none from `least` (1) to 65535. */
export function checkPort(field: string, port: number, least = 1): number {
  if (Number.isInteger(port) && port >= least && port <= 65_535) return port;
  throw new SpecError(field, `it should be a port from ${least} to 65535, not ${shown(port)}`);
}
