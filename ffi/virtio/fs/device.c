/* The virtqueue side of virtio-fs: requests are taken in batches, and the guest is told once a batch. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "virtio/fs/internal.h"

enum {
	TAG_BYTES = 36,
	QUEUE_URGENT = 0, /* hiprio: forgets and interrupts */
	QUEUE_REQUESTS = 1,
	BATCH = 64,                /* requests served before others on the loop get their turn */
	NOTIFY_BYTES = 256 * 1024, /* bytes moved before the guest is told, though more requests wait */
};

/* Device configuration, virtio 1.2 section 5.11.4. */
struct fs_config {
	char tag[TAG_BYTES];
	uint32_t num_request_queues;
};

struct virtio_fs {
	struct virtio_device dev;
	struct fs_config config;
	struct fs_session *session;
};

static struct virtio_fs *fs_of(struct virtio_device *dev)
{
	return (struct virtio_fs *)dev;
}

static void fs_read_config(struct virtio_device *dev, size_t offset, void *to, size_t len)
{
	memcpy(to, (const uint8_t *)&fs_of(dev)->config + offset, len);
}

/* Nothing there is the driver's to write. */
static void fs_write_config(struct virtio_device *dev, size_t offset, const void *from, size_t len)
{
	(void)dev;
	(void)offset;
	(void)from;
	(void)len;
}

/* A write past the process's limit of file sizes is the guest's EFBIG, not the end of us. */
static void block_sigxfsz(void)
{
	sigset_t too_large;
	sigemptyset(&too_large);
	sigaddset(&too_large, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &too_large, NULL);
}

static int fs_activate(struct virtio_device *dev)
{
	block_sigxfsz();
	return dev->queues[QUEUE_REQUESTS].enabled ? 0 : -EINVAL;
}

/* Serve up to BATCH requests of a queue. */
static void serve(struct virtio_fs *fs, struct virtqueue *vq)
{
	struct virtqueue_chain chain;
	size_t moved = 0;
	unsigned count = 0;
	while (count < BATCH && virtqueue__pop(vq, &chain) == 1) {
		moved += chain.readable_bytes + chain.writable_bytes;
		virtqueue__push(vq, chain.head, session__handle(fs->session, &chain));
		count++;
		if (moved >= NOTIFY_BYTES) {
			virtqueue__notify(vq);
			moved = 0;
		}
	}
	virtqueue__notify(vq);
	atomic_store_explicit(&fs->dev.traffic.from_guest, fs->session->written, memory_order_relaxed);
	atomic_store_explicit(&fs->dev.traffic.to_guest, fs->session->read, memory_order_relaxed);
	if (count == BATCH) /* there may be more: come back by way of the loop */
		(void)!eventfd_write(vq->kick_fd, 1);
}

static void fs_queue_ready(struct virtio_device *dev, unsigned index)
{
	if (index == QUEUE_REQUESTS && virtqueue__pending(&dev->queues[QUEUE_URGENT]))
		serve(fs_of(dev), &dev->queues[QUEUE_URGENT]);
	if (index == QUEUE_URGENT || index == QUEUE_REQUESTS)
		serve(fs_of(dev), &dev->queues[index]);
}

static void fs_reset(struct virtio_device *dev)
{
	session__reset(fs_of(dev)->session);
}

static void fs_destroy(struct virtio_device *dev)
{
	session__free(fs_of(dev)->session);
	free(dev);
}

static const struct virtio_device_ops fs_ops = {
	.name = "fs",
	.id = VIRTIO_ID_FS,
	.num_queues = 2,
	.config_size = sizeof(struct fs_config),
	.read_config = fs_read_config,
	.write_config = fs_write_config,
	.activate = fs_activate,
	.queue_ready = fs_queue_ready,
	.reset = fs_reset,
	.destroy = fs_destroy,
};

int virtio_fs__new(const struct fs_options *options, struct virtio_device **out)
{
	size_t tag_len = options->tag ? strlen(options->tag) : 0;
	if (!tag_len || tag_len > TAG_BYTES || !options->root_count || (options->single && options->root_count != 1))
		return -EINVAL;
	struct virtio_fs *fs = calloc(1, sizeof(*fs));
	if (!fs)
		return -ENOMEM;
	int err = session__new(options, &fs->session);
	if (err) {
		free(fs);
		return err;
	}
	memcpy(fs->config.tag, options->tag, tag_len);
	fs->config.num_request_queues = 1;
	fs->dev.ops = &fs_ops;
	*out = &fs->dev;
	return 0;
}
