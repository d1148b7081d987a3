/* The two kernel formats and the initrd, as boot__load puts them into guest memory. */
#ifndef CAPSA_BOOT_IMAGE_H
#define CAPSA_BOOT_IMAGE_H

#include <stdint.h>

#include "board/board.h"
#include "common/failure.h"
#include "memory.h"

/* A file being loaded. */
struct image_file {
	int fd;
	uint64_t size;
	const char *path; /* for messages */
};

/* A kernel in memory. */
struct image_kernel {
	uint64_t entry;
	enum boot_protocol protocol;
	uint64_t end;        /* first guest address the kernel does not claim for itself */
	uint64_t initrd_max; /* last guest address an initrd may reach */
	uint8_t setup[512];  /* BOOT_LINUX64: what goes to boot_params.hdr */
	unsigned setup_size; /* bytes */
};

struct image_initrd {
	uint64_t addr, size; /* size 0: none */
};

__attribute__((warn_unused_result)) int image_elf__load(const struct guest_memory *mem, const struct image_file *file,
							struct image_kernel *kernel, struct failure *why);
__attribute__((warn_unused_result)) int image_bzimage__load(const struct guest_memory *mem,
							    const struct image_file *file, struct image_kernel *kernel,
							    struct failure *why);
/* As high in low memory as the kernel allows. */
__attribute__((warn_unused_result)) int image_initrd__load(const struct guest_memory *mem,
							   const struct image_file *file,
							   const struct image_kernel *kernel,
							   struct image_initrd *initrd, struct failure *why);

/* Regular file of a size worth reading. */
__attribute__((warn_unused_result)) int image_file__open(int fd, const char *path, struct image_file *file,
							 struct failure *why);
/* Exactly `len` bytes at `offset`, which must lie in the file; -ENOEXEC where they do not. */
__attribute__((warn_unused_result)) int image_file__read(const struct image_file *file, uint64_t offset, void *to,
							 uint64_t len);
/* The same into guest memory at `gpa`: -ENOMEM where memory does not reach so far. */
__attribute__((warn_unused_result)) int image_file__place(const struct image_file *file, uint64_t offset,
							  const struct guest_memory *mem, uint64_t gpa, uint64_t len);

#endif
