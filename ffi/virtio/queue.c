/* Split virtqueue, device side: the guest may write to the rings at any moment, so each field is read once, then
 * checked.
 */
#include "virtio/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/bell.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the rings are little-endian, and read as they are");

/* Ring layout, virtio 1.2 sections 2.7.5 to 2.7.8. */
enum desc_flags { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum ring_flags { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct avail {
	uint16_t flags;
	uint16_t idx;
	uint16_t ring[]; /* size entries, then used_event */
};

struct used_elem {
	uint32_t id;
	uint32_t len;
};

struct used {
	uint16_t flags;
	uint16_t idx;
	struct used_elem ring[]; /* size entries, then avail_event (16 bits) */
};

struct virtqueue_scratch {
	bool broken;      /* the ring was inconsistent: nothing is taken from it any more */
	bool kicks_off;   /* the driver was asked, by flag, not to notify */
	unsigned refused; /* in a row */
	struct iovec iov[VIRTQUEUE_MAX_SIZE];
};

/* The guest's view of a 16-bit ring field. */
static uint16_t load16(const uint16_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void store16(uint16_t *at, uint16_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

/* A copy the compiler may not fetch again: what was checked is what is used. */
static struct desc load_desc(const uint8_t *at)
{
	struct desc d;
	memcpy(&d, at, sizeof(d));
	__asm__ volatile("" ::: "memory");
	return d;
}

static uint16_t *used_event(const struct virtqueue *vq)
{
	return &((struct avail *)vq->avail)->ring[vq->size];
}

static uint16_t *avail_event(const struct virtqueue *vq)
{
	return (uint16_t *)(void *)&((struct used *)vq->used)->ring[vq->size];
}

static bool usable(const struct guest_memory *mem, const void *at, size_t len, size_t align)
{
	uintptr_t p = (uintptr_t)at;
	if (!p || p % align)
		return false;
	for (unsigned i = 0; i < mem->count; i++) {
		const struct guest_region *r = &mem->regions[i];
		uintptr_t start = (uintptr_t)r->host;
		if (p >= start && p - start < r->size && len <= r->size - (p - start))
			return true;
	}
	return false;
}

int virtqueue__enable(struct virtqueue *vq, void *desc, void *avail, void *used)
{
	if (vq->size == 0 || vq->size > VIRTQUEUE_MAX_SIZE || (vq->size & (vq->size - 1)))
		return -EINVAL;
	size_t event = vq->event_idx ? sizeof(uint16_t) : 0;
	if (!usable(vq->mem, desc, vq->size * sizeof(struct desc), 16) ||
	    !usable(vq->mem, avail, sizeof(struct avail) + vq->size * sizeof(uint16_t) + event, 2) ||
	    !usable(vq->mem, used, sizeof(struct used) + vq->size * sizeof(struct used_elem) + event, 4))
		return -EINVAL;
	virtqueue__disable(vq);
	vq->scratch = calloc(1, sizeof(*vq->scratch));
	if (!vq->scratch)
		return -ENOMEM;
	vq->desc = desc;
	vq->avail = avail;
	vq->used = used;
	vq->next_used = load16(&((struct used *)used)->idx);
	vq->signalled_valid = false;
	vq->enabled = true;
	return 0;
}

int virtqueue__resume(struct virtqueue *vq, void *desc, void *avail, void *used, uint16_t next_avail)
{
	int err = virtqueue__enable(vq, desc, avail, used);
	if (!err)
		vq->next_avail = next_avail; /* one that the ring does not bear out breaks it: virtqueue__pop */
	return err;
}

void virtqueue__disable(struct virtqueue *vq)
{
	vq->enabled = false;
	vq->desc = vq->avail = vq->used = NULL;
	free(vq->scratch);
	vq->scratch = NULL;
}

static uint16_t avail_idx(const struct virtqueue *vq)
{
	return __atomic_load_n(&((struct avail *)vq->avail)->idx, __ATOMIC_ACQUIRE);
}

/* Ask to be notified of the next available chain. */
static void kicks_on(struct virtqueue *vq)
{
	if (vq->event_idx)
		store16(avail_event(vq), vq->next_avail);
	else if (vq->scratch->kicks_off)
		store16(&((struct used *)vq->used)->flags, 0);
	vq->scratch->kicks_off = false;
	/* the request must be visible before the index is read again, or both sides could wait for each other */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* While chains are being taken no notification is needed; with the event index the old event says just that. */
static void kicks_off(struct virtqueue *vq)
{
	if (vq->event_idx || vq->scratch->kicks_off)
		return;
	store16(&((struct used *)vq->used)->flags, USED_NO_NOTIFY);
	vq->scratch->kicks_off = true;
}

/* Add one buffer to the chain; false when the guest may not name it. */
static bool add_buffer(struct virtqueue *vq, struct virtqueue_chain *chain, const struct desc *d)
{
	unsigned count = chain->readable_count + chain->writable_count;
	void *host = guest_memory__at(vq->mem, d->addr, d->len);
	if (!host || count == VIRTQUEUE_MAX_SIZE)
		return false;
	vq->scratch->iov[count] = (struct iovec){.iov_base = host, .iov_len = d->len};
	if (d->flags & DESC_WRITE) {
		chain->writable_count++;
		chain->writable_bytes += d->len;
	} else {
		if (chain->writable_count)
			return false;
		chain->readable_count++;
		chain->readable_bytes += d->len;
	}
	return chain->readable_bytes <= UINT32_MAX && chain->writable_bytes <= UINT32_MAX;
}

/* Walk the chain that begins at `head`; false when anything about it is wrong. */
static bool walk(struct virtqueue *vq, struct virtqueue_chain *chain, uint16_t head)
{
	const uint8_t *table = vq->desc;
	unsigned table_len = vq->size, steps = 0;
	uint16_t index = head;
	bool nested = false;

	for (;;) {
		if (index >= table_len || steps++ == table_len) /* past the table, or round in a loop */
			return false;
		struct desc d = load_desc(table + index * sizeof(struct desc));
		if (d.flags & DESC_INDIRECT) {
			if (!vq->indirect || nested || (d.flags & DESC_NEXT) || d.len % sizeof(struct desc) ||
			    d.len / sizeof(struct desc) > VIRTQUEUE_MAX_SIZE)
				return false;
			table = guest_memory__at(vq->mem, d.addr, d.len);
			if (!table)
				return false;
			table_len = d.len / sizeof(struct desc);
			nested = true;
			index = 0;
			steps = 0;
			continue;
		}
		if (!add_buffer(vq, chain, &d))
			return false;
		if (!(d.flags & DESC_NEXT))
			break;
		index = d.next;
	}
	chain->readable = vq->scratch->iov;
	chain->writable = vq->scratch->iov + chain->readable_count;
	return true;
}

/* Chains waiting; when there are none the driver is asked to notify, and the answer is checked once more. */
static uint16_t waiting(struct virtqueue *vq)
{
	uint16_t count = (uint16_t)(avail_idx(vq) - vq->next_avail);
	if (count)
		return count;
	kicks_on(vq);
	return (uint16_t)(avail_idx(vq) - vq->next_avail);
}

bool virtqueue__find(struct virtqueue *vq, uint16_t head, struct virtqueue_chain *chain)
{
	*chain = (struct virtqueue_chain){.head = head};
	return vq->enabled && head < vq->size && walk(vq, chain, head);
}

int virtqueue__pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
	if (!vq->enabled)
		return 0;
	if (vq->scratch->broken)
		return -EIO;
	for (;;) {
		uint16_t count = waiting(vq);
		if (!count) {
			if (vq->scratch->refused)
				virtqueue__notify(vq);
			vq->scratch->refused = 0;
			return 0;
		}
		/* A driver that only ever sends garbage would keep us here: a full ring of it counts as a broken ring.
		 */
		if (count > vq->size || vq->scratch->refused > vq->size) {
			vq->scratch->broken = true;
			return -EIO;
		}
		kicks_off(vq);
		uint16_t head = load16(&((struct avail *)vq->avail)->ring[vq->next_avail & (vq->size - 1)]);
		vq->next_avail++;
		if (virtqueue__find(vq, head, chain)) {
			vq->scratch->refused = 0;
			return 1;
		}
		vq->refused++;
		vq->scratch->refused++;
		virtqueue__push(vq, head, 0);
	}
}

void virtqueue__unpop(struct virtqueue *vq)
{
	vq->next_avail--;
}

void virtqueue__push(struct virtqueue *vq, uint16_t head, uint32_t written)
{
	if (!vq->enabled)
		return;
	struct used *used = vq->used;
	struct used_elem *elem = &used->ring[vq->next_used & (vq->size - 1)];
	__atomic_store_n(&elem->id, head, __ATOMIC_RELAXED);
	__atomic_store_n(&elem->len, written, __ATOMIC_RELAXED);
	vq->next_used++;
	/* the entry, and the buffer's contents, are visible before the index is */
	__atomic_store_n(&used->idx, vq->next_used, __ATOMIC_RELEASE);
}

/* Whether the driver wants to hear of what was pushed since `signalled`, section 2.7.7.2. */
static bool wanted(const struct virtqueue *vq)
{
	if (!vq->event_idx)
		return !(load16(&((struct avail *)vq->avail)->flags) & AVAIL_NO_INTERRUPT);
	if (!vq->signalled_valid)
		return true;
	uint16_t event = load16(used_event(vq));
	return (uint16_t)(vq->next_used - event - 1) < (uint16_t)(vq->next_used - vq->signalled);
}

void virtqueue__notify(struct virtqueue *vq)
{
	if (!vq->enabled || (vq->signalled_valid && vq->signalled == vq->next_used))
		return;
	/* the used index must be visible before the driver's wish is read */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	bool tell = wanted(vq);
	vq->signalled = vq->next_used;
	vq->signalled_valid = true;
	if (!tell)
		return;
	if (vq->notify.fn) {
		vq->notify.fn(vq->notify.arg);
	} else if (vq->notify.fd >= 0) {
		bell__ring(vq->notify.fd);
	}
}

bool virtqueue__pending(struct virtqueue *vq)
{
	return vq->enabled && !vq->scratch->broken && waiting(vq) > 0;
}

size_t iov__read(const struct iovec *iov, unsigned count, size_t offset, void *to, size_t len)
{
	size_t done = 0;
	for (unsigned i = 0; i < count && done < len; i++) {
		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		size_t n = iov[i].iov_len - offset;
		if (n > len - done)
			n = len - done;
		memcpy((uint8_t *)to + done, (const uint8_t *)iov[i].iov_base + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

size_t iov__write(const struct iovec *iov, unsigned count, size_t offset, const void *from, size_t len)
{
	size_t done = 0;
	for (unsigned i = 0; i < count && done < len; i++) {
		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		size_t n = iov[i].iov_len - offset;
		if (n > len - done)
			n = len - done;
		memcpy((uint8_t *)iov[i].iov_base + offset, (const uint8_t *)from + done, n);
		done += n;
		offset = 0;
	}
	return done;
}
