/** Where everything begins. */

import { type SandboxBuilder, sandboxBuilder } from "./sandbox/builder.ts";
import type { RawVm, VmOptions } from "./vm/api.ts";
import { Vm } from "./vm/vm.ts";

export const Capsa = {
  /**
   * Describe a sandbox: one virtual processor, 512 MiB, busybox, no network, unless told otherwise.
   * @example
   * await using vm = await Capsa.sandbox()
   *   .share("./project", "/project", MountMode.ReadOnly)
   *   .run("/bin/sleep", ["600"])
   *   .build();
   */
  sandbox(): SandboxBuilder {
    return sandboxBuilder();
  },

  /**
   * Describe a raw VM: a kernel and an initrd of your own, and devices only. Throws `SpecError` for options that there
   * are not.
   * @example
   * await using vm = Capsa.vm({ kernel: "./vmlinuz", initrd: "./initrd", memoryMb: 256 });
   * await vm.start();
   * await vm.console.waitFor("login:");
   */
  vm(options: VmOptions): RawVm {
    return new Vm(options);
  },
} as const;
