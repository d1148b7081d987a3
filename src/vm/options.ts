/** From what a caller says of a raw VM to a specification with its defaults filled in. */

import { checkObject } from "../errors/check.ts";
import { SpecError } from "../errors/errors.ts";
import { absolutePath } from "../host/written.ts";
import { madeUpName } from "../sandbox/name.ts";
import type { VmOptions } from "./api.ts";
import type { VmSpec } from "./spec.ts";

const KNOWN: Readonly<Record<keyof VmOptions, true>> = {
  kernel: true,
  initrd: true,
  cmdline: true,
  cpus: true,
  memoryMb: true,
  disks: true,
  vsock: true,
  acpi: true,
  name: true,
  engine: true,
  confine: true,
};
const FIRMWARE = ["firmware", "uefi", "bios"];

/** Throws {@link SpecError} for what there is not: firmware (`NOT_SUPPORTED`), and words that mean nothing. */
export function specOf(options: VmOptions): VmSpec {
  checkObject("options", options);
  for (const key of Object.keys(options)) {
    if (FIRMWARE.includes(key)) {
      throw new SpecError(key, "firmware is not supported: a raw VM enters its kernel directly", {
        code: "NOT_SUPPORTED",
        hint: "give `kernel` and `initrd`, which an image for UEFI has in its /boot",
      });
    }
    if (!Object.hasOwn(KNOWN, key)) {
      throw new SpecError(key, `a raw VM has no such option; there are ${Object.keys(KNOWN).join(", ")}`);
    }
  }
  const { kernel, initrd, disks = [] } = options;
  if (typeof kernel !== "string") throw new SpecError("kernel", "a raw VM needs the path of a kernel");
  return {
    name: options.name ?? madeUpName("vm"),
    kernel: absolutePath("kernel", kernel),
    ...(initrd === undefined ? {} : { initrd: absolutePath("initrd", initrd) }),
    cmdline: options.cmdline ?? "console=ttyS0 panic=-1",
    acpi: options.acpi ?? true,
    cpus: options.cpus ?? 1,
    memoryMb: options.memoryMb ?? 512,
    disks: disks.map(({ path, readOnly = false }, index) => ({
      path: absolutePath(`disks[${index}].path`, path),
      readOnly,
    })),
    vsock: options.vsock ?? true,
    engine: options.engine ?? "auto",
    confine: options.confine ?? "auto",
  };
}
