/* Loading a kernel of either format, its initrd and command line, and what it is told of the machine. */
#include "board/board.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "board/image.h"
#include "board/x86_64/acpi.h"
#include "board/x86_64/kernel.h"
#include "board/x86_64/layout.h"
#include "board/x86_64/params.h"

/*
 * Linux, told to reset a machine with reduced ACPI, looks for no register but jumps to the BIOS, in real mode:
 * mov al, 0xfe; out 0x64, al (the keyboard controller's reset line); hlt; jmp to the hlt.
 */
static void write_reset(const struct guest_memory *mem)
{
	static const uint8_t code[] = {0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd};
	memcpy(mem->regions[0].host + LAYOUT_RESET, code, sizeof(code));
}

int board__load(const struct guest_memory *mem, const struct board_request *request, struct board_entry *entry,
		struct failure *why)
{
	if (request->cpus == 0 || request->cpus > LAYOUT_CPUS_MAX)
		return failure__set(why, EINVAL, NULL, "a machine has 1 to %d CPUs, not %u", LAYOUT_CPUS_MAX,
				    request->cpus);
	if (request->device_count > BOARD_MAX_DEVICES)
		return failure__set(why, EINVAL, NULL, "a machine has at most %d devices", BOARD_MAX_DEVICES);
	size_t cmdline = strlen(request->cmdline);
	if (cmdline > LAYOUT_CMDLINE_MAX)
		return failure__set(why, E2BIG, NULL, "the kernel command line has %zu bytes, %d are the most", cmdline,
				    LAYOUT_CMDLINE_MAX);

	struct image_file file;
	int error = image_file__open(request->kernel, request->kernel_path, &file, why);
	if (error)
		return error;
	char magic[SELFMAG] = {0};
	bool is_elf = image_file__read(&file, 0, magic, SELFMAG) == 0 && memcmp(magic, ELFMAG, SELFMAG) == 0;
	struct image_kernel kernel;
	error = is_elf ? image_elf__load(mem, &file, &kernel, why) : image_bzimage__load(mem, &file, &kernel, why);
	if (error)
		return error;

	struct image_initrd initrd = {0};
	if (request->initrd >= 0) {
		error = image_file__open(request->initrd, request->initrd_path, &file, why);
		if (!error)
			error = image_initrd__load(mem, &file, kernel.end, kernel.initrd_max, &initrd, why);
		if (error)
			return error;
	}
	memcpy(mem->regions[0].host + LAYOUT_CMDLINE, request->cmdline, cmdline + 1);
	mp_table__write(mem, request);
	write_reset(mem);
	const uint64_t acpi = acpi__write(mem, request);
	*entry = (struct board_entry){
		.mode = kernel.mode,
		.pc = kernel.entry,
		.argument = kernel.mode == ENTRY_PVH ? params__write_pvh(mem, &initrd, acpi)
						     : params__write_linux64(mem, &kernel, &initrd, acpi),
	};
	return 0;
}
