/* What the host is told of a file: its type, size, permissions and time. */
#ifndef CAPSA_AGENT_ENTRY_H
#define CAPSA_AGENT_ENTRY_H

#include <sys/stat.h>

#include "common/writer.h"

/* Pairs that entry__put writes, into at most ENTRY_SIZE bytes. */
enum { ENTRY_PAIRS = 4, ENTRY_SIZE = 96 };

void entry__put(struct writer *writer, const struct stat *status);

/* Milliseconds since 1970. */
int64_t entry__ms(struct timespec time);

/* Its type as the protocol calls it. */
const char *entry__type(mode_t mode);

#endif
