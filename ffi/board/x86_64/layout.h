/* Where things lie in a PC's guest-physical address space: RAM around the hole below 4 GiB, and the low megabyte. */
#ifndef CAPSA_BOARD_X86_64_LAYOUT_H
#define CAPSA_BOARD_X86_64_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

#define LAYOUT_HOLE 0xc0000000ULL   /* RAM stops here ... */
#define LAYOUT_HIGH 0x100000000ULL  /* ... and goes on here; between them devices and interrupt controllers */
#define LAYOUT_VIRTIO 0xd0000000ULL /* first virtio-mmio device, VIRTIO_MMIO_SIZE each */
#define LAYOUT_IOAPIC 0xfec00000ULL
#define LAYOUT_LOCAL_APIC 0xfee00000ULL
#define LAYOUT_TSS 0xfffbd000ULL /* three pages Intel's virtualization uses for real mode, plus one below: */
#define LAYOUT_IDENTITY_MAP 0xfffbc000ULL

/* The low megabyte, all written before the first instruction. */
#define LAYOUT_GDT 0x500
#define LAYOUT_START_INFO 0x1000 /* PVH: start info, its module list and its memory map */
#define LAYOUT_BOOT_PARAMS 0x2000
#define LAYOUT_PAGE_TABLES 0x3000 /* PML4, PDPT and four page directories */
#define LAYOUT_CMDLINE 0x10000
#define LAYOUT_BASE_END 0x9fc00 /* end of base memory */
#define LAYOUT_ACPI 0xe0000     /* likewise */
#define LAYOUT_MP_TABLE 0xf0000 /* where a BIOS would be, a place the kernel looks in */
#define LAYOUT_MP_TABLE_END LAYOUT_RESET
#define LAYOUT_RESET 0xffff0       /* where a processor begins, and a BIOS */
#define LAYOUT_KERNEL_MIN 0x100000 /* kernels and initrds lie above the first megabyte */

#define LAYOUT_CMDLINE_MAX 2047 /* bytes without the NUL: what x86 kernels keep (COMMAND_LINE_SIZE) */
#define LAYOUT_CPUS_MAX 254     /* APIC IDs are bytes, 255 is everyone's, and the I/O APIC has one as well */

#define LAYOUT_E820_MAX 3

struct layout_e820 {
	uint64_t addr, size;
};

/* The RAM a kernel is told of; returns the number of entries. */
unsigned layout__e820(const struct guest_memory *mem, struct layout_e820 e820[LAYOUT_E820_MAX]);

#endif
