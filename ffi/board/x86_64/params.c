/* PVH start info, Linux boot_params, and the page tables and GDT that the 64-bit entry wants. */
#include "board/x86_64/params.h"

#include <asm/bootparam.h>
#include <string.h>

#include "board/x86_64/layout.h"

/* Xen, public/arch-x86/hvm/start_info.h, version 1. */
struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp, memory_map;
	uint32_t memory_map_entries, reserved;
};

struct start_module {
	uint64_t addr, size, cmdline, reserved;
};

struct start_memory {
	uint64_t addr, size;
	uint32_t type, reserved;
};

#define START_INFO_MAGIC 0x336ec578U
#define MODULE_AT (LAYOUT_START_INFO + 0x100)
#define MEMORY_MAP_AT (LAYOUT_START_INFO + 0x200)
#define E820_RAM 1

static uint8_t *low(const struct guest_memory *mem, uint64_t gpa)
{
	return mem->regions[0].host + gpa;
}

uint64_t params__write_pvh(const struct guest_memory *mem, const struct image_initrd *initrd, uint64_t acpi)
{
	struct layout_e820 e820[LAYOUT_E820_MAX];
	unsigned entries = layout__e820(mem, e820);
	for (unsigned i = 0; i < entries; i++) {
		struct start_memory map = {.addr = e820[i].addr, .size = e820[i].size, .type = E820_RAM};
		memcpy(low(mem, MEMORY_MAP_AT + i * sizeof(map)), &map, sizeof(map));
	}
	struct start_module module = {.addr = initrd->addr, .size = initrd->size};
	memcpy(low(mem, MODULE_AT), &module, sizeof(module));
	struct start_info info = {
		.magic = START_INFO_MAGIC,
		.version = 1,
		.modules = initrd->size ? 1 : 0,
		.module_list = initrd->size ? MODULE_AT : 0,
		.cmdline = LAYOUT_CMDLINE,
		.rsdp = acpi,
		.memory_map = MEMORY_MAP_AT,
		.memory_map_entries = entries,
	};
	memcpy(low(mem, LAYOUT_START_INFO), &info, sizeof(info));
	return LAYOUT_START_INFO;
}

/* The first 4 GiB mapped to themselves in 2 MiB pages, and flat segments at the selectors Linux names (__BOOT_CS). */
static void write_64bit_tables(const struct guest_memory *mem)
{
	enum { PRESENT_WRITE = 3, LARGE = 0x80, ENTRIES = 512, DIRECTORIES = 4 };
	uint64_t *pml4 = (uint64_t *)(void *)low(mem, LAYOUT_PAGE_TABLES), *pdpt = pml4 + ENTRIES,
		 *directories = pdpt + ENTRIES;
	pml4[0] = (LAYOUT_PAGE_TABLES + 0x1000) | PRESENT_WRITE;
	for (uint64_t i = 0; i < DIRECTORIES; i++)
		pdpt[i] = (LAYOUT_PAGE_TABLES + 0x2000 + i * 0x1000) | PRESENT_WRITE;
	for (uint64_t i = 0; i < (uint64_t)DIRECTORIES * ENTRIES; i++)
		directories[i] = i << 21 | PRESENT_WRITE | LARGE;
	static const uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x008f8b000000ffff};
	memcpy(low(mem, LAYOUT_GDT), gdt, sizeof(gdt));
}

uint64_t params__write_linux64(const struct guest_memory *mem, const struct image_kernel *kernel,
			       const struct image_initrd *initrd, uint64_t acpi)
{
	struct boot_params params = {0};
	memcpy(&params.hdr, kernel->setup, kernel->setup_size);
	params.hdr.type_of_loader = 0xff; /* none that is registered */
	params.hdr.loadflags |= LOADED_HIGH;
	params.hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	params.acpi_rsdp_addr = acpi;
	params.hdr.ramdisk_image = (uint32_t)initrd->addr;
	params.hdr.ramdisk_size = (uint32_t)initrd->size;
	struct layout_e820 e820[LAYOUT_E820_MAX];
	params.e820_entries = (uint8_t)layout__e820(mem, e820);
	for (unsigned i = 0; i < params.e820_entries; i++)
		params.e820_table[i] =
			(struct boot_e820_entry){.addr = e820[i].addr, .size = e820[i].size, .type = E820_RAM};
	memcpy(low(mem, LAYOUT_BOOT_PARAMS), &params, sizeof(params));
	write_64bit_tables(mem);
	return LAYOUT_BOOT_PARAMS;
}
