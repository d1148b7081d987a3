/* virtio-blk: each request is one read or write of the file, straight from or to the guest's buffers. */
#include "virtio/blk.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/writer.h"

#define TURN_MAX 16  /* requests served before other sources of the loop have their turn */
#define SEGMENTS 126 /* buffers of data a request: with header and status they fill a queue of 128 */
#define ID_BYTES 20  /* section 5.2.6 */
#define HEADER_BYTES 16

/* Feature bits, section 5.2.3. */
#define F_SEG_MAX (1ULL << 2)
#define F_RO (1ULL << 5)
#define F_BLK_SIZE (1ULL << 6)
#define F_FLUSH (1ULL << 9)
#define FEATURES (F_SEG_MAX | F_BLK_SIZE | F_FLUSH)

/* Section 5.2.6. */
enum request_type { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4, TYPE_GET_ID = 8 };
enum request_status { STATUS_OK = 0, STATUS_IOERR = 1, STATUS_UNSUPP = 2 };

struct request_header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* struct virtio_blk_config, section 5.2.4, up to the fields of the features that are not offered. */
struct blk_config {
	uint64_t capacity;
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t others[40];
};

_Static_assert(sizeof(struct blk_config) == 64 && sizeof(struct request_header) == HEADER_BYTES,
	       "as the specification numbers the bytes");

struct blk {
	struct virtio_device dev;
	int fd;
	bool read_only, active;
	uint64_t sectors;
	char id[ID_BYTES];
	uint64_t next_turn; /* timer; 0: none */
};

/* Leave out the first `skip` bytes, and all behind the `len` after them; returns the first buffer that is left. */
static struct iovec *cut(struct iovec *iov, unsigned *count, size_t skip, size_t len)
{
	while (*count && skip >= iov->iov_len) {
		skip -= iov->iov_len;
		iov++;
		--*count;
	}
	if (*count) {
		iov->iov_base = (uint8_t *)iov->iov_base + skip;
		iov->iov_len -= skip;
	}
	unsigned kept = 0;
	for (; kept < *count && len; kept++) {
		if (iov[kept].iov_len > len)
			iov[kept].iov_len = len;
		len -= iov[kept].iov_len;
	}
	*count = kept;
	return iov;
}

/* All of the buffers, however many calls that takes. */
static enum request_status transfer(const struct blk *blk, struct iovec *iov, unsigned count, uint64_t offset,
				    bool write)
{
	while (count) {
		int most = count < IOV_MAX ? (int)count : IOV_MAX;
		ssize_t n =
			write ? pwritev(blk->fd, iov, most, (off_t)offset) : preadv(blk->fd, iov, most, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) /* 0: somebody made the file shorter */
			return STATUS_IOERR;
		offset += (uint64_t)n;
		iov = cut(iov, &count, (size_t)n, SIZE_MAX);
	}
	return STATUS_OK;
}

static bool within(const struct blk *blk, uint64_t sector, size_t bytes)
{
	return bytes % BLK_SECTOR == 0 && sector <= blk->sectors && bytes / BLK_SECTOR <= blk->sectors - sector;
}

static enum request_status flush(const struct blk *blk)
{
	return blk->read_only || fdatasync(blk->fd) == 0 ? STATUS_OK : STATUS_IOERR;
}

static enum request_status write_sectors(const struct blk *blk, const struct request_header *header,
					 struct virtqueue_chain *chain)
{
	size_t bytes = chain->readable_bytes - HEADER_BYTES;
	unsigned count = chain->readable_count;
	if (blk->read_only || !within(blk, header->sector, bytes))
		return STATUS_IOERR;
	struct iovec *data = cut(chain->readable, &count, HEADER_BYTES, bytes);
	enum request_status status = transfer(blk, data, count, header->sector * BLK_SECTOR, true);
	/* a driver that did not take FLUSH counts on what is written to be safe, section 5.2.6.2 */
	return status == STATUS_OK && !(blk->dev.driver_features & F_FLUSH) ? flush(blk) : status;
}

/* *done: the bytes that were put into the guest's buffers. */
static enum request_status read_sectors(const struct blk *blk, const struct request_header *header,
					struct virtqueue_chain *chain, size_t *done)
{
	size_t bytes = chain->writable_bytes - 1;
	unsigned count = chain->writable_count;
	if (!within(blk, header->sector, bytes))
		return STATUS_IOERR;
	struct iovec *data = cut(chain->writable, &count, 0, bytes);
	enum request_status status = transfer(blk, data, count, header->sector * BLK_SECTOR, false);
	*done = status == STATUS_OK ? bytes : 0;
	return status;
}

static enum request_status get_id(const struct blk *blk, const struct virtqueue_chain *chain, size_t *done)
{
	size_t room = chain->writable_bytes - 1;
	*done = iov__write(chain->writable, chain->writable_count, 0, blk->id, room < ID_BYTES ? room : ID_BYTES);
	return STATUS_OK;
}

/* Carry out one request; returns the bytes written to the guest, its status byte included. */
static size_t handle(const struct blk *blk, struct virtqueue_chain *chain)
{
	struct request_header header;
	size_t done = 0;
	enum request_status status = STATUS_IOERR;
	if (!chain->writable_count) /* no room even for a status */
		return 0;
	const struct iovec *last = &chain->writable[chain->writable_count - 1];
	uint8_t *answer = (uint8_t *)last->iov_base + last->iov_len - 1;
	if (iov__read(chain->readable, chain->readable_count, 0, &header, sizeof(header)) == sizeof(header)) {
		switch (header.type) {
		case TYPE_IN:
			status = read_sectors(blk, &header, chain, &done);
			break;
		case TYPE_OUT:
			status = write_sectors(blk, &header, chain);
			break;
		case TYPE_FLUSH:
			status = flush(blk);
			break;
		case TYPE_GET_ID:
			status = get_id(blk, chain, &done);
			break;
		default:
			status = STATUS_UNSUPP;
		}
	}
	*answer = (uint8_t)status;
	return done + 1;
}

static void serve(void *arg)
{
	struct blk *blk = arg;
	struct virtqueue *vq = &blk->dev.queues[0];
	struct virtqueue_chain chain;
	unsigned served = 0;
	blk->next_turn = 0;
	while (served < TURN_MAX && virtqueue__pop(vq, &chain) > 0) {
		size_t written = handle(blk, &chain);
		virtqueue__push(vq, chain.head, written < UINT32_MAX ? (uint32_t)written : UINT32_MAX);
		served++;
	}
	virtqueue__notify(vq);
	/* without memory for the timer the guest's next kick goes on */
	if (served == TURN_MAX && loop__timer(blk->dev.loop, 0, serve, blk, &blk->next_turn))
		blk->next_turn = 0;
}

static void blk__queue_ready(struct virtio_device *dev, unsigned index)
{
	struct blk *blk = (struct blk *)dev;
	if (index == 0 && blk->active && !blk->next_turn)
		serve(blk);
}

static void blk__read_config(struct virtio_device *dev, size_t offset, void *to, size_t len)
{
	const struct blk *blk = (const struct blk *)dev;
	const struct blk_config config = {.capacity = blk->sectors, .seg_max = SEGMENTS, .blk_size = BLK_SECTOR};
	memcpy(to, (const uint8_t *)&config + offset, len);
}

static void blk__write_config(struct virtio_device *dev, size_t offset, const void *from, size_t len)
{
	(void)dev, (void)offset, (void)from, (void)len; /* the one field to write, `writeback`, was not offered */
}

static int blk__activate(struct virtio_device *dev)
{
	((struct blk *)dev)->active = true;
	return 0;
}

static void blk__reset(struct virtio_device *dev)
{
	struct blk *blk = (struct blk *)dev;
	blk->active = false;
	loop__timer_cancel(dev->loop, blk->next_turn);
	blk->next_turn = 0;
}

static void blk__destroy(struct virtio_device *dev)
{
	struct blk *blk = (struct blk *)dev;
	blk__reset(dev);
	close(blk->fd);
	free(blk);
}

/* What its driver knows of it. Requests are carried out at once: none is under way. */
struct saved_blk {
	uint64_t sectors;
	bool read_only;
};

static const struct cbor_field saved_fields[] = {
	{.key = "sectors", .kind = CBOR_U64, .required = true, .offset = offsetof(struct saved_blk, sectors)},
	{.key = "readOnly", .kind = CBOR_BOOL, .required = true, .offset = offsetof(struct saved_blk, read_only)},
};
static const struct cbor_table saved_table = CBOR_TABLE("saved-disk", saved_fields);

static void blk__save(const struct virtio_device *dev, struct writer *out)
{
	const struct blk *blk = (const struct blk *)dev;
	writer__uint(out, "sectors", blk->sectors);
	writer__bool(out, "readOnly", blk->read_only);
}

static int blk__load(struct virtio_device *dev, const void *saved, struct failure *why)
{
	const struct saved_blk *from = saved;
	const struct blk *blk = (const struct blk *)dev;
	if (from->sectors == blk->sectors && from->read_only == blk->read_only)
		return 0;
	return failure__set(why, ESTALE, NULL, "the disk was another one when it was saved");
}

static void blk__properties(struct virtio_device *dev, char *to, size_t size)
{
	(void)dev;
	snprintf(to, size, ",num-queues=1");
}

#define BLK_OPS(more_features)                                                                                         \
	{                                                                                                              \
		.name = "blk", .id = VIRTIO_ID_BLOCK, .num_queues = 1, .features = FEATURES | (more_features),         \
		.front_end = {.device = "vhost-user-blk", .config = true, .properties = blk__properties},              \
		.config_size = sizeof(struct blk_config), .read_config = blk__read_config,                             \
		.write_config = blk__write_config, .activate = blk__activate, .queue_ready = blk__queue_ready,         \
		.reset = blk__reset, .destroy = blk__destroy, .saved = &saved_table,                                   \
		.saved_size = sizeof(struct saved_blk), .save = blk__save, .load = blk__load,                          \
	}

static const struct virtio_device_ops writable_ops = BLK_OPS(0);
static const struct virtio_device_ops read_only_ops = BLK_OPS(F_RO);

int virtio_blk__new(const struct blk_options *options, struct virtio_device **out)
{
	struct blk *blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	blk->dev.ops = options->read_only ? &read_only_ops : &writable_ops;
	blk->fd = options->fd;
	blk->read_only = options->read_only;
	blk->sectors = options->sectors;
	memcpy(blk->id, options->id, strnlen(options->id, sizeof(blk->id))); /* a full one has no terminator */
	*out = &blk->dev;
	return 0;
}
