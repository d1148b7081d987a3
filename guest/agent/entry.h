/* What the host is told of a file: its type, size, permissions and time. */
#ifndef CAPSA_AGENT_ENTRY_H
#define CAPSA_AGENT_ENTRY_H

#include <sys/stat.h>

#include "common/writer.h"

/* The pairs of entry-status. */
void entry__put(struct writer *writer, const struct stat *status);

/* Milliseconds since 1970. */
int64_t entry__ms(struct timespec time);

/* Its type as the protocol calls it. */
const char *entry__type(mode_t mode);

#endif
