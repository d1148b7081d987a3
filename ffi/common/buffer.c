/* A byte queue in one piece of memory; it grows by doubling and moves its bytes to the front only when the end is full.
 */
#include "common/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SMALLEST = 4096 };

uint8_t *buffer__reserve(struct buffer *buffer, size_t size)
{
	size_t pending = buffer__pending(buffer);
	if (buffer->data && buffer->capacity - buffer->end >= size)
		return buffer->data + buffer->end;
	if (!buffer->data || buffer->capacity < pending + size) {
		size_t capacity = buffer->capacity ? buffer->capacity : SMALLEST;
		while (capacity < pending + size)
			capacity *= 2;
		uint8_t *data = malloc(capacity);
		if (!data)
			return NULL;
		if (buffer->data)
			memcpy(data, buffer__head(buffer), buffer->capacity - buffer->start);
		free(buffer->data);
		buffer->data = data;
		buffer->capacity = capacity;
	} else if (buffer->start) {
		memmove(buffer->data, buffer__head(buffer), buffer->capacity - buffer->start);
	}
	buffer->start = 0;
	buffer->end = pending;
	return buffer->data + pending;
}

void buffer__commit(struct buffer *buffer, size_t size)
{
	buffer->end += size;
}

void buffer__consume(struct buffer *buffer, size_t size)
{
	buffer->start += size;
	if (buffer->start == buffer->end)
		buffer->start = buffer->end = 0;
}

int buffer__flush(struct buffer *buffer, int fd)
{
	while (buffer__pending(buffer)) {
		ssize_t n = write(fd, buffer__head(buffer), buffer__pending(buffer));
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
		}
		buffer__consume(buffer, (size_t)n);
	}
	return 0;
}

void buffer__free(struct buffer *buffer)
{
	free(buffer->data);
	memset(buffer, 0, sizeof(*buffer));
}
