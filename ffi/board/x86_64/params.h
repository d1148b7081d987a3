/* What a kernel is told at its entry: PVH start info or Linux boot_params, and the MP table with the CPUs. */
#ifndef CAPSA_BOARD_X86_64_PARAMS_H
#define CAPSA_BOARD_X86_64_PARAMS_H

#include "board/board.h"
#include "board/x86_64/kernel.h"
#include "memory.h"

/* Both write their structures, which point to the command line at LAYOUT_CMDLINE, into the low megabyte and return
 * the guest address for the entry's register. `acpi` is the tables' root pointer. `mem` holds at least that megabyte.
 */
uint64_t params__write_pvh(const struct guest_memory *mem, const struct image_initrd *initrd, uint64_t acpi);
uint64_t params__write_linux64(const struct guest_memory *mem, const struct image_kernel *kernel,
			       const struct image_initrd *initrd, uint64_t acpi);

/* MultiProcessor Specification 1.4, for 1..LAYOUT_CPUS_MAX CPUs with APIC IDs from 0 on and ISA-like interrupts (edge)
 * of the devices on one I/O APIC. */
void mp_table__write(const struct guest_memory *mem, const struct board_request *request);

#endif
