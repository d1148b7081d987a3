/* The two kernel formats, as board__load puts them into guest memory. */
#ifndef CAPSA_BOARD_X86_64_KERNEL_H
#define CAPSA_BOARD_X86_64_KERNEL_H

#include <stdint.h>

#include "board/image.h"
#include "board/x86_64/entry.h"

/* A kernel in memory. */
struct image_kernel {
	uint64_t entry;
	enum entry_mode mode;
	uint64_t end;        /* first guest address the kernel does not claim for itself */
	uint64_t initrd_max; /* last guest address an initrd may reach */
	uint8_t setup[512];  /* ENTRY_LINUX64: what goes to boot_params.hdr */
	unsigned setup_size; /* bytes */
};

__attribute__((warn_unused_result)) int image_elf__load(const struct guest_memory *mem, const struct image_file *file,
							struct image_kernel *kernel, struct failure *why);
__attribute__((warn_unused_result)) int image_bzimage__load(const struct guest_memory *mem,
							    const struct image_file *file, struct image_kernel *kernel,
							    struct failure *why);

#endif
