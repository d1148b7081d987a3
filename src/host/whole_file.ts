/** Files of JSON that are there whole, or as they were. */

import { renameSync, rmSync, writeFileSync } from "node:fs";

/** For this user alone. `flush`: so that it outlives a loss of power, which takes its time. */
export function writeWhole(path: string, value: unknown, { flush = false } = {}): void {
  const beside = `${path}.${process.pid}`; // another process may be writing it, too
  try {
    writeFileSync(beside, JSON.stringify(value), { mode: 0o600, flush });
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
}
