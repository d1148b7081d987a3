/** What the proxy refuses, in a file that never grows past a limit: when it would, its older half goes. */

import { constants, fstatSync, ftruncateSync, writeSync } from "node:fs";
import { printableLine } from "../../errors/printable.ts";
import { openPlainFile, readSome } from "../../host/files.ts";

const LIMIT = 1 << 20; // bytes
const { O_RDWR, O_CREAT, O_APPEND } = constants;

export class RefusalLog {
  readonly #fd: number | undefined;

  /** Opened before the VMM starts, and written by its descriptor. Nothing is kept where the path has anything but a file. */
  constructor(path: string) {
    this.#fd = openPlainFile(path, O_RDWR | O_CREAT | O_APPEND);
  }

  /** A line as the VMM's own log of the network has them. One that cannot be written, for a full disk, is lost. */
  add(name: string, port: number, why: string): void {
    if (this.#fd === undefined) return;
    const when = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const line = Buffer.from(`${when} tcp ${name}:${port} refused: ${printableLine(why)}\n`);
    try {
      const { size } = fstatSync(this.#fd);
      if (size + line.length > LIMIT) this.#dropOlderHalf(this.#fd, size);
      writeSync(this.#fd, line);
    } catch {}
  }

  #dropOlderHalf(fd: number, size: number): void {
    const bytes = readSome(fd, size);
    const kept = bytes.subarray(bytes.indexOf(0x0a, Math.floor(bytes.length / 2)) + 1);
    ftruncateSync(fd, 0);
    writeSync(fd, kept);
  }
}
