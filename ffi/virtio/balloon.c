/* virtio-balloon: pages that the guest names, or reports as free, are given back to the host. */
#include "virtio/balloon.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/writer.h"

#define TURN_MAX 64      /* chains handled before other sources of the loop have their turn */
#define NUMBERS_MAX 4096 /* page numbers of one chain; Linux gives 256 */

/* Section 5.5.2. REPORTING's queue comes right behind these two, as those between are not offered. */
enum { INFLATE, DEFLATE, REPORTING, QUEUES };

#define VIRTIO_BALLOON_F_REPORTING (1ULL << 5)

/* struct virtio_balloon_config, section 5.5.4: the device sets the first, the driver the other. */
struct balloon_config {
	_Atomic uint32_t num_pages, actual;
};

struct balloon {
	struct virtio_device dev;
	struct balloon_config config;
	bool private;       /* guest memory is no file's: see drop */
	uint64_t next_turn; /* timer; 0: none */
};

/* Whole pages of guest memory; they read as zeros from now on. A page of a file stays there while it is only unmapped,
 * and of memory that is no file's nothing can be removed. */
static void drop(struct balloon *b, void *at, uint64_t len)
{
	if (!b->private && madvise(at, len, MADV_REMOVE) < 0 && (errno == EINVAL || errno == EACCES))
		b->private = true;
	if (b->private)
		(void)madvise(at, len, MADV_DONTNEED);
}

/* Page numbers are the guest's word: what is in no region is left alone. */
static void drop_pages(struct balloon *b, uint64_t first, uint64_t count)
{
	const struct guest_memory *mem = b->dev.queues[INFLATE].mem;
	uint64_t gpa = first * BALLOON_PAGE, left = count * BALLOON_PAGE;
	while (left) {
		uint64_t room = guest_memory__room(mem, gpa) / BALLOON_PAGE * BALLOON_PAGE;
		uint64_t len = !room ? BALLOON_PAGE : room < left ? room : left;
		void *at = room ? guest_memory__at(mem, gpa, len) : NULL;
		if (at)
			drop(b, at, len);
		gpa += len;
		left -= len;
	}
}

/* Neighbours are dropped together: a guest gives long runs, often the highest first. */
static void inflate(struct balloon *b, const struct virtqueue_chain *chain)
{
	uint64_t first = 0, count = 0;
	uint32_t number;
	for (size_t i = 0; i < NUMBERS_MAX; i++) {
		if (iov__read(chain->readable, chain->readable_count, i * sizeof(number), &number, sizeof(number)) <
		    sizeof(number))
			break;
		if (count && number == first + count) {
			count++;
		} else if (count && number + 1ULL == first) {
			first--;
			count++;
		} else {
			drop_pages(b, first, count);
			first = number;
			count = 1;
		}
	}
	drop_pages(b, first, count);
}

/* The buffers are the free memory itself; they were checked on their way here. */
static void reporting(struct balloon *b, const struct virtqueue_chain *chain)
{
	for (unsigned i = 0; i < chain->writable_count; i++) {
		uintptr_t from = (uintptr_t)chain->writable[i].iov_base, end = from + chain->writable[i].iov_len;
		from = (from + BALLOON_PAGE - 1) / BALLOON_PAGE * BALLOON_PAGE;
		end = end / BALLOON_PAGE * BALLOON_PAGE;
		if (from < end)
			drop(b, (void *)from, end - from); // NOLINT(performance-no-int-to-ptr)
	}
}

static void serve(void *arg)
{
	struct balloon *b = arg;
	struct virtqueue_chain chain;
	unsigned served = 0;
	b->next_turn = 0;
	for (unsigned index = 0; index < QUEUES; index++) {
		struct virtqueue *vq = &b->dev.queues[index];
		while (served < TURN_MAX && virtqueue__pop(vq, &chain) > 0) {
			if (index == INFLATE)
				inflate(b, &chain);
			else if (index == REPORTING)
				reporting(b, &chain);
			/* a page that the guest takes back is there again once it is touched */
			virtqueue__push(vq, chain.head, 0);
			served++;
		}
		virtqueue__notify(vq);
	}
	/* without memory for the timer the guest's next kick goes on */
	if (served == TURN_MAX && loop__timer(b->dev.loop, 0, serve, b, &b->next_turn))
		b->next_turn = 0;
}

static void balloon__queue_ready(struct virtio_device *dev, unsigned index)
{
	struct balloon *b = (struct balloon *)dev;
	if (index < QUEUES && !b->next_turn)
		serve(b);
}

static void balloon__read_config(struct virtio_device *dev, size_t offset, void *to, size_t len)
{
	struct balloon *b = (struct balloon *)dev;
	uint32_t now[] = {atomic_load(&b->config.num_pages), atomic_load(&b->config.actual)};
	memcpy(to, (const uint8_t *)now + offset, len);
}

static void balloon__write_config(struct virtio_device *dev, size_t offset, const void *from, size_t len)
{
	struct balloon *b = (struct balloon *)dev;
	uint32_t actual;
	if (offset != sizeof(uint32_t) || len != sizeof(actual))
		return;
	memcpy(&actual, from, sizeof(actual));
	atomic_store(&b->config.actual, actual);
}

static int balloon__activate(struct virtio_device *dev)
{
	(void)dev;
	return 0;
}

static void balloon__reset(struct virtio_device *dev)
{
	struct balloon *b = (struct balloon *)dev;
	loop__timer_cancel(dev->loop, b->next_turn);
	b->next_turn = 0;
	atomic_store(&b->config.actual, 0);
}

static void balloon__destroy(struct virtio_device *dev)
{
	balloon__reset(dev);
	free(dev);
}

struct saved_balloon {
	uint32_t asked, given;
};

static const struct cbor_field saved_fields[] = {
	{.key = "asked", .kind = CBOR_U32, .required = true, .offset = offsetof(struct saved_balloon, asked)},
	{.key = "given", .kind = CBOR_U32, .required = true, .offset = offsetof(struct saved_balloon, given)},
};
static const struct cbor_table saved_table = CBOR_TABLE("saved-balloon", saved_fields);

static void balloon__save(const struct virtio_device *dev, struct writer *out)
{
	const struct balloon *b = (const struct balloon *)dev;
	writer__uint(out, "asked", atomic_load(&b->config.num_pages));
	writer__uint(out, "given", atomic_load(&b->config.actual));
}

static int balloon__load(struct virtio_device *dev, const void *saved, struct failure *why)
{
	const struct saved_balloon *from = saved;
	struct balloon *b = (struct balloon *)dev;
	(void)why;
	atomic_store(&b->config.num_pages, from->asked);
	atomic_store(&b->config.actual, from->given);
	return 0;
}

static const struct virtio_device_ops balloon_ops = {
	.name = "balloon",
	.id = VIRTIO_ID_BALLOON,
	.num_queues = QUEUES,
	.features = VIRTIO_BALLOON_F_REPORTING,
	.config_size = sizeof(struct balloon_config),
	.read_config = balloon__read_config,
	.write_config = balloon__write_config,
	.activate = balloon__activate,
	.queue_ready = balloon__queue_ready,
	.reset = balloon__reset,
	.destroy = balloon__destroy,
	.saved = &saved_table,
	.saved_size = sizeof(struct saved_balloon),
	.save = balloon__save,
	.load = balloon__load,
};

int virtio_balloon__new(struct virtio_device **out)
{
	struct balloon *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->dev.ops = &balloon_ops;
	*out = &b->dev;
	return 0;
}

void virtio_balloon__ask(struct virtio_device *dev, uint32_t pages)
{
	struct balloon *b = (struct balloon *)dev;
	atomic_store(&b->config.num_pages, pages);
	if (dev->config_changed)
		dev->config_changed(dev);
}

uint32_t virtio_balloon__given(const struct virtio_device *dev)
{
	const struct balloon *b = (const struct balloon *)dev;
	return atomic_load(&b->config.actual);
}

static int balloon__make(const void *config, struct device_maker *maker, struct failure *why)
{
	struct virtio_device *dev;
	if (!*(const bool *)config)
		return 0;
	int err = virtio_balloon__new(&dev);
	return err ? failure__set(why, -err, NULL, "the balloon device cannot be made") : maker->add(maker, dev, why);
}

const struct device_kind device_balloon = {
	.id = VIRTIO_ID_BALLOON,
	.field = {.key = "balloon", .kind = CBOR_BOOL},
	.size = sizeof(bool),
	.thread = CONFINE_QUIET,
	.make = balloon__make,
};
