/* From a kernel file to a machine about to run its first instruction: everything in guest memory but the vCPU's state.
 */
#ifndef CAPSA_BOOT_BOOT_H
#define CAPSA_BOOT_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/failure.h"
#include "memory.h"

#define BOOT_CMDLINE_MAX 2047 /* bytes without the NUL: what x86 kernels keep (COMMAND_LINE_SIZE) */
#define BOOT_MAX_CPUS 254     /* APIC IDs are bytes, 255 is everyone's, and the I/O APIC has one as well */

#define BOOT_MAX_DEVICES 16

/* A virtio-mmio device. */
struct boot_device {
	uint64_t addr; /* below 4 GiB, a page */
	uint8_t irq;   /* input of the I/O APIC */
};

enum boot_protocol {
	BOOT_PVH,     /* 32-bit flat, paging off; RBX: start info */
	BOOT_LINUX64, /* 64-bit at the page tables of LAYOUT_PAGE_TABLES; RSI: boot_params */
};

struct boot_entry {
	enum boot_protocol protocol;
	uint64_t rip;
	uint64_t params; /* guest address of what the register points to */
};

struct boot_request {
	int kernel; /* file: an ELF with Linux's notes or a PVH note, or a bzImage with a 64-bit entry */
	int initrd; /* file, -1 without */
	const char *kernel_path, *initrd_path; /* for messages */
	const char *cmdline;
	unsigned cpus;
	const struct boot_device *devices;
	unsigned device_count;
	bool has_serial; /* a serial port as COM1 */
};

/* Load into `mem`, which layout__split laid out and which is all zeros. Files are untrusted: every length and address
 * in them is checked. 0, or -errno and *why filled in. */
__attribute__((warn_unused_result)) int boot__load(const struct guest_memory *mem, const struct boot_request *request,
						   struct boot_entry *entry, struct failure *why);

#endif
