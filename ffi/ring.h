/* A bounded ring of bytes: what a slow reader has not taken yet. */
#ifndef CAPSA_RING_H
#define CAPSA_RING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct ring {
	uint8_t *data; /* NULL while closed */
	size_t size;
	size_t start; /* index of the oldest byte */
	size_t len;
};

/* Allocate room for `size` bytes. 0 or -ENOMEM. ring__close frees it; closing twice is fine. */
__attribute__((warn_unused_result)) int ring__open(struct ring *ring, size_t size);
void ring__close(struct ring *ring);

/* Append; returns the bytes taken, fewer than `len` when the ring is full. */
size_t ring__put(struct ring *ring, const void *from, size_t len);
/* The bytes held, oldest first, as 0, 1 or 2 iovecs; returns how many. */
unsigned ring__peek(const struct ring *ring, struct iovec iov[2]);
/* Forget the oldest `len` bytes, at most all. */
void ring__drop(struct ring *ring, size_t len);

#endif
