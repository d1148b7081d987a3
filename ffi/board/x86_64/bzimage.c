/* Kernels as bzImage, entered in 64-bit mode (Linux, Documentation/arch/x86/boot.rst, "64-bit boot protocol"). */
#include <asm/bootparam.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "board/x86_64/kernel.h"
#include "board/x86_64/layout.h"

#define HEADER_AT 0x1f1    /* of the setup header, in the file and in boot_params alike */
#define MAGIC 0x53726448U  /* "HdrS" */
#define VERSION_MIN 0x020c /* the first with xloadflags */
#define ENTRY_64 0x200     /* from where the kernel was loaded */
#define SECTOR 512ULL

static int bzimage__refuse(const struct image_file *file, const char *what, struct failure *why)
{
	return failure__set(why, ENOEXEC, "KERNEL_INVALID", "%s is not a usable kernel: %s", file->path, what);
}

int image_bzimage__load(const struct guest_memory *mem, const struct image_file *file, struct image_kernel *kernel,
			struct failure *why)
{
	struct setup_header header;
	uint8_t jump; /* the byte at 0x201: how far past 0x202 the header goes */
	if (image_file__read(file, HEADER_AT, &header, sizeof(header)) < 0 ||
	    image_file__read(file, 0x201, &jump, 1) < 0)
		return bzimage__refuse(file, "it is cut short", why);
	if (header.boot_flag != 0xaa55 || header.header != MAGIC)
		return bzimage__refuse(file, "it is neither an ELF vmlinux nor a bzImage", why);
	if (header.version < VERSION_MIN || !(header.xloadflags & XLF_KERNEL_64))
		return bzimage__refuse(file, "it has no 64-bit entry; an x86-64 kernel of 3.8 or later is wanted", why);

	uint64_t setup = (header.setup_sects ? header.setup_sects : 4) * SECTOR + SECTOR;
	if (setup >= file->size || file->size - setup <= ENTRY_64)
		return bzimage__refuse(file, "it is cut short", why);
	uint64_t size = file->size - setup, load = header.pref_address, room = header.init_size;
	if (room < size)
		room = size;
	if (load < LAYOUT_KERNEL_MIN || load > LAYOUT_HOLE || room > LAYOUT_HOLE - load)
		return bzimage__refuse(file, "it wants to lie where no kernel goes", why);
	if (!guest_memory__at(mem, load, room))
		return failure__set(why, ENOMEM, NULL,
				    "the kernel %s reaches to %" PRIu64 " MiB; give the machine more memory than that",
				    file->path, ((load + room) >> 20) + 1);
	int error = image_file__place(file, setup, mem, load, size);
	if (error)
		return failure__set(why, -error, NULL, "cannot read the kernel %s", file->path);

	*kernel = (struct image_kernel){.entry = load + ENTRY_64,
					.mode = ENTRY_LINUX64,
					.end = load + room,
					.initrd_max = header.initrd_addr_max};
	kernel->setup_size = 0x202U + jump - HEADER_AT;
	if (kernel->setup_size > sizeof(header))
		kernel->setup_size = sizeof(header);
	memcpy(kernel->setup, &header, kernel->setup_size);
	return 0;
}
