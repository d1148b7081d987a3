/* Fuzzes the split virtqueue: guest memory is the input, the device's calls follow the bytes after it. */
#include "input.h"
#include "virtio/queue.h"

#include <stdlib.h>
#include <string.h>

#define MEMORY 8192 /* bytes; regions of half of it each, so that chains can straddle */
#define BASE 0x1000U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Whether the iovec lies whole in one region. */
static bool inside(const struct guest_memory *mem, const struct iovec *iov)
{
	for (unsigned i = 0; i < mem->count; i++) {
		const struct guest_region *r = &mem->regions[i];
		const uint8_t *at = iov->iov_base;
		if (at >= r->host && at + iov->iov_len <= r->host + r->size)
			return iov->iov_len > 0;
	}
	return false;
}

/* A chain keeps what its contract says; its bytes are read and written, for ASan to see. */
static void check_chain(const struct virtqueue *vq, const struct virtqueue_chain *chain)
{
	size_t readable = 0, writable = 0;
	uint8_t bytes[64];
	require(chain->head < vq->size);
	require(chain->readable_count + chain->writable_count > 0);
	require(chain->readable_count + chain->writable_count <= VIRTQUEUE_MAX_SIZE);
	for (unsigned i = 0; i < chain->readable_count; i++) {
		require(inside(vq->mem, &chain->readable[i]));
		readable += chain->readable[i].iov_len;
	}
	for (unsigned i = 0; i < chain->writable_count; i++) {
		require(inside(vq->mem, &chain->writable[i]));
		writable += chain->writable[i].iov_len;
	}
	require(readable == chain->readable_bytes && writable == chain->writable_bytes);
	memset(bytes, 0xa5, sizeof(bytes));
	require(iov__read(chain->readable, chain->readable_count, readable / 2, bytes, sizeof(bytes)) <= sizeof(bytes));
	require(iov__write(chain->writable, chain->writable_count, writable / 2, bytes, sizeof(bytes)) <=
		sizeof(bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 8)
		return 0;
	/* two allocations, so that ASan guards the end of each region */
	uint8_t *low = calloc(1, MEMORY / 2), *high = calloc(1, MEMORY / 2);
	struct guest_memory mem = {.count = 2,
				   .regions = {{.gpa = BASE, .size = MEMORY / 2, .host = low},
					       {.gpa = BASE + MEMORY / 2, .size = MEMORY / 2, .host = high}}};
	struct virtqueue vq = {.mem = &mem,
			       .size = 1U << (data[0] & 7),
			       .event_idx = data[0] & 0x40,
			       .indirect = data[0] & 0x80,
			       .notify = {.fd = -1}};
	size_t calls_len = data[1] < len - 8 ? data[1] : len - 8;
	const uint8_t *calls = data + 8;
	const uint8_t *image = calls + calls_len;
	size_t image_len = len - 8 - calls_len;
	if (image_len > MEMORY)
		image_len = MEMORY;
	memcpy(low, image, image_len < MEMORY / 2 ? image_len : MEMORY / 2);
	if (image_len > MEMORY / 2)
		memcpy(high, image + MEMORY / 2, image_len - MEMORY / 2);
	/* the rings: where a driver would put them, or wherever the input says */
	void *desc = low, *avail = low + (data[2] & 0x80 ? 2048 : 16 * (data[3] % 128)),
	     *used = high + (data[2] & 0x40 ? 0 : 16 * data[4]);
	if (virtqueue__enable(&vq, desc, avail, used) == 0) {
		unsigned taken = 0;
		for (size_t i = 0; i < calls_len; i++) {
			struct virtqueue_chain chain;
			switch (calls[i] & 7) {
			case 0:
			case 1:
			case 2:
				if (virtqueue__pop(&vq, &chain) == 1) {
					check_chain(&vq, &chain);
					taken++;
					if (calls[i] & 8)
						virtqueue__push(&vq, chain.head, calls[i]);
				}
				break;
			case 3:
				virtqueue__notify(&vq);
				break;
			case 4:
				virtqueue__pending(&vq);
				break;
			case 5:
				if (taken) {
					taken--;
					virtqueue__unpop(&vq);
				}
				break;
			case 6: /* the guest moves its index on */
				((uint16_t *)avail)[1] += calls[i] >> 3;
				break;
			default: /* the guest changes a descriptor */
				low[(calls[i] >> 3) * 16 + (i & 15)] ^= (uint8_t)i;
			}
		}
	}
	virtqueue__disable(&vq);
	free(low);
	free(high);
	return 0;
}
