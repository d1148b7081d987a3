/** Keys of a raw VM, and from what a caller says of one to a specification with its defaults filled in. */

import { Type } from "@sinclair/typebox";
import { SpecError } from "../errors/errors.ts";
import { madeUpName } from "../sandbox/name.ts";
import { flag, hostPath } from "../spec/forms.ts";
import { fromTypeScript, type Key, resolveList, resolveTable, tableSchema } from "../spec/key.ts";
import { MACHINE } from "../spec/machine.ts";
import { parseHostPath } from "../spec/paths.ts";
import type { VmOptions } from "./api.ts";
import type { VmSpec } from "./spec.ts";

const MAX_DISKS = 8;
const MAX_CMDLINE = 2047; // what the kernel's own limit for x86-64 leaves
const FIRMWARE = ["firmware", "uefi", "bios"];

const DISK_KEYS: readonly Key[] = [
  { name: "path", required: true, schema: hostPath(""), parse: parseHostPath },
  { name: "readOnly", default: false, schema: flag("") },
];
const DiskSchema = tableSchema(DISK_KEYS, "typescript", { expected: "a disk such as { path }" });

const KEYS: readonly Key[] = [
  ...MACHINE.map((key): Key => (key.name === "kernel" ? { ...key, required: true } : key)),
  {
    name: "cmdline",
    default: "console=ttyS0 panic=-1",
    schema: Type.String({ expected: "a text" }),
    parse: (given: string, path, { report }) => {
      if (Buffer.byteLength(given) > MAX_CMDLINE) report(path, `is longer than ${MAX_CMDLINE} bytes`);
      return given;
    },
  },
  { name: "acpi", default: true, schema: flag("") },
  { name: "vsock", default: true, schema: flag("") },
  {
    name: "disks",
    default: [],
    schema: Type.Array(DiskSchema, { expected: "a list of disks" }),
    parse: (given: object[], path, context) => {
      if (given.length > MAX_DISKS) context.report(path, `${given.length} are more than ${MAX_DISKS}`);
      return resolveList(DISK_KEYS, DiskSchema, given, path, context);
    },
  },
];
const VmSchema = tableSchema(KEYS, "typescript", { expected: "options of a raw VM" });

/** Throws {@link SpecError} for what there is not: firmware (`NOT_SUPPORTED`), and words that mean nothing. */
export function specOf(options: VmOptions): VmSpec {
  const firmware = FIRMWARE.find((key) => Object.hasOwn(options ?? {}, key));
  if (firmware !== undefined)
    throw new SpecError(firmware, "firmware is not supported: a raw VM enters its kernel directly", {
      code: "NOT_SUPPORTED",
      hint: "give `kernel` and `initrd`: an image for UEFI has them in /boot",
    });
  const given = { ...options, name: options?.name ?? madeUpName("vm") };
  return fromTypeScript(VmSchema, given, (context) =>
    resolveTable(KEYS, given, [], context),
  ) as unknown as VmSpec;
}
