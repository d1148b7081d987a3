/* The guest's side of a virtio device, for tests: fake guest memory, rings, chains, and the device on a loop of its own
 * thread. The test plays the driver on the thread of main().
 *
 *	struct driver d;
 *	driver__init(&d, 1 << 20);
 *	struct driver_queue q;
 *	driver_queue__init(&q, &d, &vq, 16, DRIVER_EVENT_IDX | DRIVER_INDIRECT);
 *	uint64_t buf = driver__alloc(&d, 4096);
 *	driver_queue__add(&q, &(struct driver_buf){buf, 4096}, 0, 1);
 */
#ifndef CAPSA_TESTS_DRIVER_H
#define CAPSA_TESTS_DRIVER_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "virtio/virtio.h"

#define DRIVER_BASE 0x100000U /* guest address of the first byte of memory */
#define DRIVER_NEXT 1
#define DRIVER_WRITE 2
#define DRIVER_INDIRECT_DESC 4

enum { DRIVER_EVENT_IDX = 1, DRIVER_INDIRECT = 2 };

struct driver {
	uint8_t *ram;
	uint64_t size, next; /* next: offset of the first byte not handed out */
	struct guest_memory mem;
};

struct driver_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct driver_buf {
	uint64_t gpa;
	uint32_t len;
};

struct driver_queue {
	struct driver *driver;
	struct virtqueue *vq;
	unsigned size, options;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	struct driver_desc *desc;
	uint16_t *avail; /* flags, idx, ring[size], used_event */
	uint16_t *used;  /* flags, idx, ring of {u32 id, u32 len}, avail_event */
	uint16_t avail_idx, used_idx;
	uint16_t chain_len[VIRTQUEUE_MAX_SIZE]; /* by head */
	uint16_t free[VIRTQUEUE_MAX_SIZE];      /* stack of descriptors */
	uint64_t indirect[VIRTQUEUE_MAX_SIZE];  /* table of each head */
	unsigned free_count;
	int call_fd, kick_fd;
};

CHECK__UNUSED static void driver__init(struct driver *d, uint64_t size)
{
	*d = (struct driver){.size = size};
	d->ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(d->ram != MAP_FAILED);
	d->mem.count = 1;
	d->mem.regions[0] = (struct guest_region){.gpa = DRIVER_BASE, .size = size, .host = d->ram};
}

CHECK__UNUSED static void driver__free(struct driver *d)
{
	munmap(d->ram, d->size);
}

/* Guest address of `len` fresh bytes, 16-byte aligned. */
CHECK__UNUSED static uint64_t driver__alloc(struct driver *d, uint64_t len)
{
	uint64_t at = (d->next + 15) & ~15ULL;
	CHECK(at + len <= d->size);
	d->next = at + len;
	return DRIVER_BASE + at;
}

CHECK__UNUSED static void *driver__at(const struct driver *d, uint64_t gpa)
{
	return d->ram + (gpa - DRIVER_BASE);
}

/* Lay out the rings in guest memory and enable the device's queue on them. */
CHECK__UNUSED static void driver_queue__init(struct driver_queue *q, struct driver *d, struct virtqueue *vq,
					     unsigned size, unsigned options)
{
	*q = (struct driver_queue){.driver = d, .vq = vq, .size = size, .options = options};
	q->desc_gpa = driver__alloc(d, 16ULL * size);
	q->avail_gpa = driver__alloc(d, 6 + 2ULL * size);
	q->used_gpa = driver__alloc(d, 6 + 8ULL * size);
	q->desc = driver__at(d, q->desc_gpa);
	q->avail = driver__at(d, q->avail_gpa);
	q->used = driver__at(d, q->used_gpa);
	for (unsigned i = 0; i < size; i++) {
		q->free[i] = (uint16_t)(size - 1 - i);
		if (options & DRIVER_INDIRECT)
			q->indirect[i] = driver__alloc(d, 16 * 128);
	}
	q->free_count = size;
	q->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	q->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	CHECK(q->call_fd >= 0 && q->kick_fd >= 0);
	*vq = (struct virtqueue){.mem = &d->mem,
				 .size = size,
				 .event_idx = options & DRIVER_EVENT_IDX,
				 .indirect = options & DRIVER_INDIRECT,
				 .kick_fd = q->kick_fd,
				 .notify = {.fd = q->call_fd}};
	CHECK_EQ(virtqueue__enable(vq, q->desc, q->avail, q->used), 0);
}

/* The driver's part; the device's queue is disabled by its owner. */
CHECK__UNUSED static void driver_queue__free(struct driver_queue *q)
{
	close(q->call_fd);
	close(q->kick_fd);
}

/* Make the chain that begins at `head` available, whatever is there. */
CHECK__UNUSED static void driver_queue__offer(struct driver_queue *q, uint16_t head)
{
	q->avail[2 + (q->avail_idx & (q->size - 1))] = head;
	__atomic_store_n(&q->avail[1], ++q->avail_idx, __ATOMIC_SEQ_CST);
}

/* Make buffers available: `out` that the device reads, then `in` that it writes. Returns the head, -1 when the ring is
 * full. */
CHECK__UNUSED static int driver_queue__add(struct driver_queue *q, const struct driver_buf *bufs, unsigned out,
					   unsigned in)
{
	unsigned count = out + in;
	bool indirect = (q->options & DRIVER_INDIRECT) && count > 1;
	unsigned need = indirect ? 1 : count;
	if (need > q->free_count)
		return -1;
	uint16_t head = q->free[q->free_count - 1];
	struct driver_desc *table = indirect ? driver__at(q->driver, q->indirect[head]) : q->desc;
	for (unsigned i = 0; i < count; i++) {
		uint16_t at = indirect ? (uint16_t)i : q->free[q->free_count - 1 - i];
		uint16_t next = 0;
		if (i + 1 < count)
			next = indirect ? (uint16_t)(i + 1) : q->free[q->free_count - 2 - i];
		table[at] = (struct driver_desc){
			.addr = bufs[i].gpa,
			.len = bufs[i].len,
			.flags = (uint16_t)((i >= out ? DRIVER_WRITE : 0) | (i + 1 < count ? DRIVER_NEXT : 0)),
			.next = next,
		};
	}
	if (indirect)
		q->desc[head] = (struct driver_desc){
			.addr = q->indirect[head], .len = count * 16, .flags = DRIVER_INDIRECT_DESC};
	q->free_count -= need;
	q->chain_len[head] = (uint16_t)need;
	driver_queue__offer(q, head);
	return head;
}

/* The next used chain: its head, and in *len the bytes written; -1 when there is none. Asks to be notified of more. */
CHECK__UNUSED static int driver_queue__used(struct driver_queue *q, uint32_t *len)
{
	if (q->used_idx == __atomic_load_n(&q->used[1], __ATOMIC_SEQ_CST))
		return -1;
	uint32_t elem[2];
	memcpy(elem, (uint8_t *)q->used + 4 + 8 * (q->used_idx & (q->size - 1)), sizeof(elem));
	q->used_idx++;
	__atomic_store_n(&q->avail[2 + q->size], q->used_idx, __ATOMIC_SEQ_CST);
	uint16_t head = (uint16_t)elem[0];
	CHECK(head < q->size);
	uint16_t at = head;
	for (unsigned i = q->chain_len[head]; i > 0; i--) {
		q->free[q->free_count++] = at;
		at = q->desc[at].next;
	}
	q->chain_len[head] = 0;
	if (len)
		*len = elem[1];
	return head;
}

/* How often the device has notified since the last question. */
CHECK__UNUSED static uint64_t driver_queue__calls(struct driver_queue *q)
{
	uint64_t calls = 0;
	if (read(q->call_fd, &calls, sizeof(calls)) < 0)
		return 0;
	return calls;
}

/* The next used chain, waiting up to `ms` milliseconds for the device's notification; -1 when none came. */
CHECK__UNUSED static int driver_queue__wait(struct driver_queue *q, uint32_t *len, int ms)
{
	for (;;) {
		int head = driver_queue__used(q, len);
		if (head >= 0)
			return head;
		struct pollfd p = {.fd = q->call_fd, .events = POLLIN};
		if (poll(&p, 1, ms) <= 0)
			return driver_queue__used(q, len);
		driver_queue__calls(q);
	}
}

/* A device on its loop's thread. */
struct driver_device {
	struct virtio_device *dev;
	struct loop *loop;
	pthread_t thread;
	unsigned kicked; /* argument of the call under way */
	int result;
};

CHECK__UNUSED static void *driver__thread(void *arg)
{
	loop__run(arg);
	return NULL;
}

/* Take a fresh device over and run a loop for it. */
CHECK__UNUSED static void driver_device__start(struct driver_device *dd, struct virtio_device *dev)
{
	*dd = (struct driver_device){.dev = dev};
	CHECK_EQ(loop__new(&dd->loop), 0);
	dev->loop = dd->loop;
	CHECK_EQ(pthread_create(&dd->thread, NULL, driver__thread, dd->loop), 0);
}

CHECK__UNUSED static void driver__do_activate(void *arg)
{
	struct driver_device *dd = arg;
	dd->result = dd->dev->ops->activate(dd->dev);
}

CHECK__UNUSED static void driver__do_kick(void *arg)
{
	struct driver_device *dd = arg;
	dd->dev->ops->queue_ready(dd->dev, dd->kicked);
}

CHECK__UNUSED static void driver__do_reset(void *arg)
{
	struct driver_device *dd = arg;
	dd->dev->ops->reset(dd->dev);
}

CHECK__UNUSED static void driver_device__activate(struct driver_device *dd)
{
	CHECK_EQ(loop__call(dd->loop, driver__do_activate, dd), 0);
	CHECK_EQ(dd->result, 0);
}

/* Tell the device of new chains in queue `index`; returns when it has looked. */
CHECK__UNUSED static void driver_device__kick(struct driver_device *dd, unsigned index)
{
	dd->kicked = index;
	CHECK_EQ(loop__call(dd->loop, driver__do_kick, dd), 0);
}

CHECK__UNUSED static void driver__do_nothing(void *arg)
{
	(void)arg;
}

/* Wait until the handler that runs now, if any, has returned. */
CHECK__UNUSED static void driver_device__sync(struct driver_device *dd)
{
	CHECK_EQ(loop__call(dd->loop, driver__do_nothing, NULL), 0);
}

/* Reset as a transport does: the device first, then its queues are disabled. */
CHECK__UNUSED static void driver_device__reset(struct driver_device *dd)
{
	CHECK_EQ(loop__call(dd->loop, driver__do_reset, dd), 0);
	for (unsigned i = 0; i < dd->dev->ops->num_queues; i++)
		virtqueue__disable(&dd->dev->queues[i]);
}

/* Reset, end the loop and its thread, destroy the device. */
CHECK__UNUSED static void driver_device__stop(struct driver_device *dd)
{
	driver_device__reset(dd);
	loop__stop(dd->loop);
	pthread_join(dd->thread, NULL);
	dd->dev->ops->destroy(dd->dev);
	loop__free(dd->loop);
}

#endif
