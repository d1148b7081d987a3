/** Error numbers of the host by name. */

import { constants } from "node:os";

const NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** `"ENOENT"` for 2 (positive), `"errno 1234"` for one without a name. */
export function errnoName(number: number): string {
  return NAMES.get(number) ?? `errno ${number}`;
}
