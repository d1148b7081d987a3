/** Files that are there whole, or as they were. */

import { renameSync, rmSync, writeFileSync } from "node:fs";

/** A file of JSON. For this user alone. `flush`: so that it outlives a loss of power, which takes its time. */
export function writeWhole(path: string, value: unknown, options: { flush?: boolean } = {}): void {
  writeText(path, JSON.stringify(value), options);
}

/** The same of text, or bytes. */
export function writeText(
  path: string,
  text: string | Uint8Array,
  { flush = false }: { flush?: boolean } = {},
): void {
  const beside = `${path}.${process.pid}`; // another process may be writing it, too
  try {
    writeFileSync(beside, text, { mode: 0o600, flush });
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
}
