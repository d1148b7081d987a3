/** What the proxy refuses, in a file that never grows past a limit: when it would, its older half goes. */

import { appendFileSync, readFileSync, statSync, writeFileSync } from "node:fs";

const LIMIT = 1 << 20; // bytes

/** A line as the VMM's own log of the network has them. One that cannot be written, for a full disk, is lost. */
export function logRefusal(path: string, name: string, port: number, why: string): void {
  const when = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  const line = `${when} tcp ${name}:${port} refused: ${why}\n`;
  try {
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size + line.length > LIMIT) {
      const text = readFileSync(path, "utf8");
      writeFileSync(path, text.slice(text.indexOf("\n", text.length / 2) + 1));
    }
    appendFileSync(path, line, { mode: 0o600 });
  } catch {}
}
