/** What a raw VM is to be, as plain data. */

import type { MachineSpec } from "../spec/spec.ts";

export interface DiskSpec {
  /** A raw image or a block device, whole sectors of 512 bytes; the guest's /dev/vda, /dev/vdb, … in this order. */
  readonly path: string;
  /** The guest may not write to it; the host refuses it. */
  readonly readOnly: boolean;
}

export interface VmSpec extends MachineSpec {
  readonly kernel: string;
  readonly cmdline: string;
  readonly acpi: boolean;
  readonly disks: readonly DiskSpec[];
  readonly vsock: boolean;
}
