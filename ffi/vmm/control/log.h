/* A log file that never grows past a limit: when it would, its older half goes. */
#ifndef CAPSA_VMM_CONTROL_LOG_H
#define CAPSA_VMM_CONTROL_LOG_H

#include <stddef.h>
#include <stdint.h>

/* Where a log may be cut: after a newline, or between frames of a 4-byte big-endian length and a body. */
enum log_unit { LOG_LINES, LOG_FRAMES };

struct log;

/* Makes `name` (mode 0600, must not exist) in the directory. 0 or -errno; the caller frees *out with log__free. */
__attribute__((warn_unused_result)) int log__new(int dir_fd, const char *name, enum log_unit unit, uint64_t limit,
						 struct log **out);
void log__free(struct log *log);

/* Append; a log that cannot be written to (a full disk) loses the bytes and goes on. NULL is allowed. */
void log__append(struct log *log, const void *data, size_t len);
/* Bytes in the file. NULL is allowed. */
uint64_t log__size(const struct log *log);

#endif
