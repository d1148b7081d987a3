/* A byte queue in one piece of memory: frames are built at its end and written to a file descriptor from its start. */
#ifndef CAPSA_COMMON_BUFFER_H
#define CAPSA_COMMON_BUFFER_H

#include <stddef.h>
#include <stdint.h>

/* All zero is an empty buffer. The memory is the buffer's own: buffer__free. */
struct buffer {
	uint8_t *data;
	size_t start, end, capacity;
};

static inline size_t buffer__pending(const struct buffer *buffer)
{
	return buffer->end - buffer->start;
}

static inline const uint8_t *buffer__head(const struct buffer *buffer)
{
	return buffer->data + buffer->start;
}

/* Room for `size` bytes at the end, or NULL without memory. It stays valid until the next buffer__reserve, which keeps
 * what was put there. */
uint8_t *buffer__reserve(struct buffer *buffer, size_t size);

/* The first `size` bytes of the reserved room are now part of the queue. */
void buffer__commit(struct buffer *buffer, size_t size);

/* Drop `size` bytes from the start. */
void buffer__consume(struct buffer *buffer, size_t size);

/* Write what is queued. Returns 0 (empty now), -EAGAIN (the rest waits) or -errno of write(2). */
int buffer__flush(struct buffer *buffer, int fd);

void buffer__free(struct buffer *buffer);

#endif
