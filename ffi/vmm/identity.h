/* Whether what a path has led to is what whoever gave the path has looked at. */
#ifndef CAPSA_VMM_IDENTITY_H
#define CAPSA_VMM_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

struct file_identity {
	bool known; /* else anything will do */
	uint64_t dev, ino;
};

/* Of an open file, O_PATH or not: 0, -ESTALE when it is another one, or what fstat(2) says. */
__attribute__((warn_unused_result)) int file_identity__check(const struct file_identity *identity, int fd);

#endif
