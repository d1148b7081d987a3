/** Whether a raw VM can be: every value checked, with the place and the reason where it cannot. */

import { SpecError } from "../errors/errors.ts";
import { statusOf } from "../host/hold.ts";
import { machine, quote, readable, text } from "../sandbox/validate.ts";
import type { DiskSpec, VmSpec } from "./spec.ts";

const SECTOR = 512;
const MAX_DISKS = 8;
const MAX_CMDLINE = 2047; // what the kernel's own limit for x86-64 leaves

/** Throws {@link SpecError} for the first thing that cannot be. */
export function validateVm(spec: VmSpec): void {
  machine(spec);
  if (spec.kernel === undefined) throw new SpecError("kernel", "a raw VM needs a kernel of yours");
  if (Buffer.byteLength(text("cmdline", spec.cmdline)) > MAX_CMDLINE) {
    throw new SpecError("cmdline", `it is longer than ${MAX_CMDLINE} bytes`);
  }
  flag("acpi", spec.acpi);
  flag("vsock", spec.vsock);
  if (spec.disks.length > MAX_DISKS)
    throw new SpecError("disks", `${spec.disks.length} are more than ${MAX_DISKS}`);
  spec.disks.forEach((disk, index) => {
    checkDisk(`disks[${index}]`, disk);
  });
}

function checkDisk(field: string, disk: DiskSpec): void {
  flag(`${field}.readOnly`, disk.readOnly);
  readable(`${field}.path`, disk.path, "disk", { access: disk.readOnly ? "read" : "write" });
  const status = statusOf(disk.path);
  if (status.isBlockDevice()) return;
  if (status.size === 0n || status.size % BigInt(SECTOR) !== 0n) {
    throw new SpecError(
      `${field}.path`,
      `${disk.path} has ${status.size} bytes: a disk is made of one or more sectors of ${SECTOR}`,
      { hint: `is it a raw image? \`truncate --size=%${SECTOR} FILE\` rounds one up` },
    );
  }
}

function flag(field: string, value: unknown): void {
  if (typeof value !== "boolean") throw new SpecError(field, `${quote(value)} is neither true nor false`);
}
