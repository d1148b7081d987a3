/** How the processes of a running sandbox are confined, as its VMM tells. */

import { flag, map, words } from "../wire/fields.ts";
import type { Message } from "../wire/framing.ts";

/** A layer of confinement of one process. */
export interface ConfinementLayer {
  /** `"privileges"`, `"namespaces"`, `"limits"`, `"capabilities"`, `"files"` (Landlock), `"syscalls"` (seccomp). */
  readonly layer: string;
  readonly applied: boolean;
  /**
   * What was applied, or why it was not. Of `"limits"` also the cgroup that holds the sandbox's processes to a sum of
   * memory, where one could be had: it is made some milliseconds after the start.
   */
  readonly detail: string;
}

/** By process: `"capsa-vmm"` and, under engine qemu, `"qemu"`. */
export type Confinement = Readonly<Record<string, readonly ConfinementLayer[]>>;

/** Of a `status` (ffi/vmm.cddl). */
export function confinementOf(status: Message): Confinement {
  const processes = Object.entries(map(status.confinement, "confinement"));
  return Object.fromEntries(
    processes.map(([process, layers]) => [
      process,
      Object.entries(map(layers, process)).map(([layer, value]) => {
        const told = map(value, layer);
        return { layer, applied: flag(told, "applied"), detail: words(told, "detail", 256) };
      }),
    ]),
  );
}
