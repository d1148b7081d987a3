/** Keys of what a sandbox and a raw VM have in common: the machine, and who runs it. */
import { ENGINE_NAMES } from "../engine/engines.ts";
import { hostPath, name, words } from "./forms.ts";
import { type Key, quantity } from "./key.ts";
import { parseHostPath } from "./paths.ts";
import { MEBIBYTES } from "./units.ts";

export const CPUS = quantity({
  name: "cpus",
  least: 1,
  most: 255,
  default: 1,
  words: "Virtual processors, 1 to 255",
  tell: (cpus: number) => ({ cpus }),
});

/**
 * The least is what capsa's own kernel and initramfs start with, and have room for a command: with 36M they start, and one
 * command of 1 MiB ends them. LAYOUT_MEMORY_MIN of the VMM is the same; a larger kernel or initrd needs more, and is told so.
 */
export const MEMORY = quantity({
  name: "memory",
  field: "memoryMb",
  unit: MEBIBYTES,
  least: 40,
  most: 1024 * 1024,
  default: 512,
  example: "512M",
  words: 'Memory of the guest, in MiB ("512M", or 512) or GiB ("2G")',
  tell: (memoryMb: number) => ({ memoryMb }),
});

export const NAME_KEY: Key = { field: "name", required: true, schema: name("Its name, and its host name.") };

export const MACHINE: readonly Key[] = [
  NAME_KEY,
  CPUS,
  MEMORY,
  {
    name: "engine",
    default: "auto",
    schema: words(
      ["auto", ...ENGINE_NAMES],
      "What runs the processors: kvm (hardware), qemu (software emulation), auto (the default) the fastest that works.",
    ),
  },
  {
    name: "confine",
    default: "auto",
    schema: words(
      ["auto", "require", "none"],
      "The cage around the virtual machine monitor and QEMU: auto (the default) whatever this machine can do, " +
        "require refuses to start when any layer of it is missing, none is for debugging.",
    ),
  },
  {
    name: "kernel",
    schema: hostPath("A kernel (vmlinux or bzImage) instead of capsa's own."),
    parse: parseHostPath,
  },
  { name: "initrd", schema: hostPath("An initramfs instead of capsa's own."), parse: parseHostPath },
];
