/* A bounded ring of bytes. */
#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ring__open(struct ring *ring, size_t size)
{
	*ring = (struct ring){.data = malloc(size), .size = size};
	return ring->data ? 0 : -ENOMEM;
}

void ring__close(struct ring *ring)
{
	free(ring->data);
	*ring = (struct ring){.data = NULL};
}

size_t ring__put(struct ring *ring, const void *from, size_t len)
{
	size_t done = 0;
	while (done < len && ring->len < ring->size) {
		size_t end = (ring->start + ring->len) % ring->size;
		size_t run = end < ring->start ? ring->start - end : ring->size - end;
		if (run > len - done)
			run = len - done;
		memcpy(ring->data + end, (const uint8_t *)from + done, run);
		ring->len += run;
		done += run;
	}
	return done;
}

unsigned ring__peek(const struct ring *ring, struct iovec iov[2])
{
	if (!ring->len)
		return 0;
	size_t run = ring->size - ring->start;
	if (ring->len <= run) {
		iov[0] = (struct iovec){.iov_base = ring->data + ring->start, .iov_len = ring->len};
		return 1;
	}
	iov[0] = (struct iovec){.iov_base = ring->data + ring->start, .iov_len = run};
	iov[1] = (struct iovec){.iov_base = ring->data, .iov_len = ring->len - run};
	return 2;
}

void ring__drop(struct ring *ring, size_t len)
{
	if (len >= ring->len) {
		ring->start = ring->len = 0;
		return;
	}
	ring->start = (ring->start + len) % ring->size;
	ring->len -= len;
}
