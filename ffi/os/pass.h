/* Descriptors that one process hands to another over a Unix socket: one message, with one descriptor or none. */
#ifndef CAPSA_OS_PASS_H
#define CAPSA_OS_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Send `data`, with `fd` unless it is -1. `waits`: for room. False when it was not sent whole. */
bool pass__send(int to, const void *data, size_t len, int fd, bool waits);

/* Wait for the next message. The bytes it had, at most `len`, or -errno; *fd gets its descriptor, close-on-exec, or -1.
 */
__attribute__((warn_unused_result)) ssize_t pass__receive(int from, void *data, size_t len, int *fd);

#endif
