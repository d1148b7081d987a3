/* Files on their way into guest memory, and the initrd, which every board loads alike. */
#ifndef CAPSA_BOARD_IMAGE_H
#define CAPSA_BOARD_IMAGE_H

#include <stdint.h>

#include "common/failure.h"
#include "memory.h"

/* A file being loaded. */
struct image_file {
	int fd;
	uint64_t size;
	const char *path; /* for messages */
};

struct image_initrd {
	uint64_t addr, size; /* size 0: none */
};

/* As high in the first region as it may be: from guest address `least` on, and up to `most`. */
__attribute__((warn_unused_result)) int image_initrd__load(const struct guest_memory *mem,
							   const struct image_file *file, uint64_t least, uint64_t most,
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
