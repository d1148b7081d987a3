/** Whether a process of this machine is there. */

import { readFileSync } from "node:fs";

/** Running: a process that only waits for its parent to look is not. */
export function alive(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** Waits for its end, within `tries` times 10 ms. */
export async function gone(pid: number, tries = 1000): Promise<boolean> {
  for (let i = 0; i < tries && alive(pid); i++) await Bun.sleep(10);
  return !alive(pid);
}
