/* Split virtqueue, device side (virtio 1.2, section 2.7): every index and address from the guest is checked here. */
#ifndef CAPSA_VIRTIO_QUEUE_H
#define CAPSA_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "memory.h"

#define VIRTQUEUE_MAX_SIZE 1024 /* entries; a power of two */

/* How a used buffer is announced: a bell (irqfd or vhost-user call fd), or a function where that is not enough. */
struct virtqueue_notify {
	int fd; /* bell, -1 when unused; owned by the transport */
	void (*fn)(void *arg);
	void *arg;
};

/*
 * A queue as a transport hands it over at activation. The value below `state` is all that a snapshot needs.
 * Ring addresses are resolved to host pointers once, in virtqueue__enable.
 */
struct virtqueue {
	const struct guest_memory *mem; /* borrowed; constant while the queue is enabled */
	unsigned size;                  /* entries, power of two, 1..VIRTQUEUE_MAX_SIZE */
	bool enabled;
	bool event_idx; /* VIRTIO_F_EVENT_IDX was negotiated */
	bool indirect;  /* VIRTIO_F_INDIRECT_DESC was negotiated */
	int kick_fd;    /* bell the guest's notifications arrive on; owned by the transport */
	struct virtqueue_notify notify;

	void *desc; /* host pointers into guest memory */
	void *avail;
	void *used;

	uint16_t next_avail; /* state: free-running index of the next available entry */
	uint16_t next_used;  /* state: free-running index of the next used entry */
	uint16_t signalled;  /* state: next_used at the last notification */
	bool signalled_valid;

	uint64_t refused; /* chains that were malformed: given back with length 0 and counted */
	struct virtqueue_scratch *scratch;
};

/*
 * One descriptor chain, device-readable part first. The iovecs are good until the next virtqueue__pop or
 * virtqueue__find of that queue, and never beyond the call of the device in which they were taken: then a transport may
 * stop the queue and replace the memory behind them. What is to be answered later is kept as its head.
 */
struct virtqueue_chain {
	uint16_t head;
	struct iovec *readable; /* bytes from the driver */
	unsigned readable_count;
	struct iovec *writable; /* room for the device's answer */
	unsigned writable_count;
	size_t readable_bytes;
	size_t writable_bytes;
};

/* Resolve and check the rings at these host addresses and allocate scratch space; next_used is taken from the ring.
 * 0, -EINVAL or -ENOMEM. */
__attribute__((warn_unused_result)) int virtqueue__enable(struct virtqueue *vq, void *desc, void *avail, void *used);
/* The same of a ring that was in use up to `next_avail`, which is not believed. */
__attribute__((warn_unused_result)) int virtqueue__resume(struct virtqueue *vq, void *desc, void *avail, void *used,
							  uint16_t next_avail);
/* Stop using the rings and free scratch. Idempotent. */
void virtqueue__disable(struct virtqueue *vq);

/*
 * Next available chain: 1 and *chain filled; 0 when there is none (and notifications are then on, re-checked for the
 * race); a malformed chain (loop, index past the table, address outside guest memory, writable before readable,
 * nested or odd-sized indirect table, zero length) is refused: given back with length 0, counted in `refused`, and the
 * next one is tried. -EIO when the ring itself is inconsistent (avail index ahead by more than size, more malformed
 * chains in a row than it has entries): the queue stops.
 */
__attribute__((warn_unused_result)) int virtqueue__pop(struct virtqueue *vq, struct virtqueue_chain *chain);
/* A chain that was popped earlier and not given back, by its head. What the guest says of it now is checked as a pop
 * does; false when that is no chain, or the queue is stopped. */
__attribute__((warn_unused_result)) bool virtqueue__find(struct virtqueue *vq, uint16_t head,
							 struct virtqueue_chain *chain);
/* Put the last popped chain back, untouched (the device has no room for it now). */
void virtqueue__unpop(struct virtqueue *vq);

/* Give a chain back with `written` bytes in its writable part. Does not notify. */
void virtqueue__push(struct virtqueue *vq, uint16_t head, uint32_t written);
/* Tell the guest, unless it asked not to be told (flags or event index). Call once after a batch of pushes. */
void virtqueue__notify(struct virtqueue *vq);
/* Whether a chain is waiting, without taking it. When none is, notifications are on, as after virtqueue__pop. */
bool virtqueue__pending(struct virtqueue *vq);

/* Copy between a buffer and iovecs from byte `offset` on; returns the bytes copied (short at the end of the iovecs). */
size_t iov__read(const struct iovec *iov, unsigned count, size_t offset, void *to, size_t len);
size_t iov__write(const struct iovec *iov, unsigned count, size_t offset, const void *from, size_t len);

#endif
