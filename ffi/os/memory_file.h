/* Files that are memory, to be mapped by this process and those that it hands them to. */
#ifndef CAPSA_OS_MEMORY_FILE_H
#define CAPSA_OS_MEMORY_FILE_H

#include <stdint.h>

/* An empty one, close-on-exec, without a name in any directory: a descriptor, or -errno. */
__attribute__((warn_unused_result)) int memory_file__new(const char *name);
/* One of a size that nobody can change: a mapping of it never ends early. */
__attribute__((warn_unused_result)) int memory_file__new_sized(const char *name, uint64_t size);

#endif
