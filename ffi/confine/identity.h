/* Whether what a path has led to is what whoever gave the path has looked at. */
#ifndef CAPSA_CONFINE_IDENTITY_H
#define CAPSA_CONFINE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/cbor_table.h"

struct file_identity {
	bool known; /* else anything will do */
	uint64_t dev, ino;
};

/* As [dev, ino]. */
extern const struct cbor_table file_identity_table;

/* Descriptor of what is at the path, or -errno: -ESTALE when it is another one than `identity`, which is not opened
 * then: to open another device may be to do something with it. `flags` of open(2), to which O_CLOEXEC is added. Needs
 * /proc. */
__attribute__((warn_unused_result)) int file_identity__open(const struct file_identity *identity, const char *path,
							    int flags);

/* Of an open file, O_PATH or not: 0, -ESTALE when it is another one, or what fstat(2) says. */
__attribute__((warn_unused_result)) int file_identity__check(const struct file_identity *identity, int fd);

#endif
