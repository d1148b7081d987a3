/** From a raw VM's specification to what the VMM is told: `vmm-config` of ffi/vmm.cddl. */

import type { Identity } from "../host/identity.ts";
import type { EngineChoice } from "../machine/launch.ts";
import { MIB } from "../spec/units.ts";
import type { VmSpec } from "./spec.ts";

const GUEST_CID = 3; // each VMM has a vsock of its own: the number need not be unique

/** `identities`: what its paths lead to, and the monitor has to find. */
export function vmConfig(
  spec: VmSpec,
  choice: EngineChoice,
  runtimeDir: string,
  identities: ReadonlyMap<string, Identity>,
): object {
  return {
    version: 1,
    name: spec.name,
    engine: choice.engine,
    kernel: spec.kernel,
    kernelIdentity: spec.kernel === undefined ? undefined : identities.get(spec.kernel),
    initrd: spec.initrd,
    initrdIdentity: spec.initrd === undefined ? undefined : identities.get(spec.initrd),
    cmdline: spec.cmdline,
    acpi: spec.acpi,
    cpus: spec.cpus,
    memory: spec.memoryMb * MIB,
    runtimeDir,
    detached: false,
    disks:
      spec.disks.length > 0
        ? spec.disks.map((disk) => ({ ...disk, identity: identities.get(disk.path) }))
        : undefined,
    vsock: spec.vsock ? { cid: GUEST_CID, ports: [] } : undefined,
    rng: true,
    serial: true,
    qemu: choice.program === undefined ? undefined : { path: choice.program },
    confine: spec.confine,
  };
}
