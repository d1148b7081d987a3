/* The virtqueue side of virtio-fs: requests are taken in batches, and the guest is told once a batch. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "os/bell.h"
#include "virtio/fs/internal.h"

enum {
	TAG_BYTES = 36,
	QUEUE_URGENT = 0, /* hiprio: forgets and interrupts */
	QUEUE_REQUESTS = 1,
	BATCH = 64,                     /* requests served before others on the loop get their turn */
	NOTIFY_BYTES = 256 * 1024,      /* bytes moved before the guest is told, though more requests wait */
	SYNCS_MAX = VIRTQUEUE_MAX_SIZE, /* that wait; more, which no honest driver has, are refused */
	PARKED_MAX = VIRTQUEUE_MAX_SIZE,
	LOCKS_PART = 4, /* of a queue, which is for what gives locks up as well, they may take one part */
};

/* Device configuration, virtio 1.2 section 5.11.4. */
struct fs_config {
	char tag[TAG_BYTES];
	uint32_t num_request_queues;
};

/* A request that is answered later: its buffers are found again by its head, in the memory that the guest has then. */
struct held {
	struct virtqueue *vq;
	uint16_t head;
	struct fs_wait wait;
};

struct virtio_fs {
	struct virtio_device dev;
	struct fs_config config;
	struct fs_session *session;
	atomic_bool stands; /* requests for shares of two layers are not served: */
	struct held parked[PARKED_MAX];
	unsigned parked_count;
	bool listening;      /* to the session's inotify */
	struct held waiting; /* is answered when there are changes; vq NULL: there is none */
	struct held syncs[SYNCS_MAX];
	unsigned sync_count;
	uint64_t sync_timer; /* 0: none */
	/* Locks that are waited for. */
	struct held locks[VIRTQUEUE_MAX_SIZE / LOCKS_PART];
	unsigned lock_count;
	uint64_t lock_timer; /* 0: none */
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

/* --- requests that wait --- */

/* The guest may have changed its chain meanwhile: it is looked at anew. */
static void end(struct virtio_fs *fs, const struct held *held, int error)
{
	struct virtqueue_chain chain, *found = virtqueue__find(held->vq, held->head, &chain) ? &chain : NULL;
	uint32_t len = held->wait.share || held->wait.waiter
			       ? session__end(fs->session, held->wait.unique, error, found)
			       : session__tell_changes(fs->session, held->wait.unique, found);
	virtqueue__push(held->vq, held->head, len);
	virtqueue__notify(held->vq);
}

/* Answer the request that waits for changes, if there is one and something to tell it; while its queue is stopped that
 * waits, too. */
static void answer(struct virtio_fs *fs)
{
	if (!session__has_changes(fs->session) || !fs->waiting.vq || !fs->waiting.vq->enabled)
		return;
	struct held held = fs->waiting;
	fs->waiting.vq = NULL;
	end(fs, &held, 0);
}

static void sync_next(void *arg);

static void await_sync(struct virtio_fs *fs)
{
	/* without memory for the timer the guest's next request goes on */
	if (fs->sync_count && !fs->sync_timer &&
	    loop__timer(fs->dev.loop, sync__wait_ms(fs->session), sync_next, fs, &fs->sync_timer))
		fs->sync_timer = 0;
}

/* Sync the share that was asked for first, for all who asked. */
static void sync_next(void *arg)
{
	struct virtio_fs *fs = arg;
	unsigned left = 0;
	fs->sync_timer = 0;
	if (!fs->syncs[0].vq->enabled) /* goes on when it runs again */
		return;
	struct fs_share *share = fs->syncs[0].wait.share;
	int error = share->unsynced ? sync__share(fs->session, share) : 0;
	for (unsigned i = 0; i < fs->sync_count; i++) {
		if (fs->syncs[i].wait.share == share && fs->syncs[i].vq->enabled)
			end(fs, &fs->syncs[i], error);
		else
			fs->syncs[left++] = fs->syncs[i];
	}
	fs->sync_count = left;
	await_sync(fs);
}

static void lock_again(void *arg);

/* Tell those whose waiting for a lock is over, and look again when the host may have given one up. */
static void answer_locks(struct virtio_fs *fs)
{
	unsigned left = 0;
	int error;
	if (!fs->lock_count)
		return;
	uint64_t ms = lock__poll(fs->session);
	for (unsigned i = 0; i < fs->lock_count; i++) {
		struct held *held = &fs->locks[i];
		if (held->vq->enabled && lock__is_over(held->wait.waiter, &error)) {
			end(fs, held, error);
			lock__forget(fs->session, held->wait.waiter);
		} else {
			fs->locks[left++] = *held;
		}
	}
	fs->lock_count = left;
	loop__timer_cancel(fs->dev.loop, fs->lock_timer);
	/* without memory for the timer the guest's next request goes on */
	if (!ms || loop__timer(fs->dev.loop, ms, lock_again, fs, &fs->lock_timer))
		fs->lock_timer = 0;
}

static void lock_again(void *arg)
{
	struct virtio_fs *fs = arg;
	fs->lock_timer = 0;
	answer_locks(fs);
}

static void hold_lock(struct virtio_fs *fs, const struct held *held)
{
	if (fs->lock_count < held->vq->size / LOCKS_PART) {
		fs->locks[fs->lock_count++] = *held;
		return;
	}
	end(fs, held, -ENOLCK);
	lock__forget(fs->session, held->wait.waiter);
}

static void hold(struct virtio_fs *fs, const struct held *held)
{
	if (held->wait.waiter)
		hold_lock(fs, held);
	else if (!held->wait.share)
		fs->waiting = *held;
	else if (fs->sync_count < SYNCS_MAX)
		fs->syncs[fs->sync_count++] = *held;
	else
		end(fs, held, -EBUSY);
}

/* A request that was taken; `chain` NULL: it is no chain any more. */
static void handle(struct virtio_fs *fs, struct held *held, const struct virtqueue_chain *chain)
{
	uint32_t len = chain ? session__handle(fs->session, chain, &held->wait) : 0;
	if (len == FS_WAITS)
		hold(fs, held);
	else
		virtqueue__push(held->vq, held->head, len);
}

/* Those that came while it stood, in their order, but no more than BATCH; returns how many. */
static unsigned serve_parked(struct virtio_fs *fs)
{
	struct virtqueue_chain chain;
	unsigned count = 0;
	for (; count < fs->parked_count && count < BATCH && !atomic_load(&fs->stands); count++) {
		struct held *held = &fs->parked[count];
		if (!held->vq->enabled) /* goes on when it runs again */
			break;
		handle(fs, held, virtqueue__find(held->vq, held->head, &chain) ? &chain : NULL);
		virtqueue__notify(held->vq);
	}
	fs->parked_count -= count;
	memmove(fs->parked, fs->parked + count, fs->parked_count * sizeof(*fs->parked));
	return count;
}

/* Whether the request is to wait until the device stands no more, which it does then; there is room for one. */
static bool park(struct virtio_fs *fs, const struct held *held, const struct virtqueue_chain *chain)
{
	bool waits = atomic_load(&fs->stands) && session__is_layered(fs->session, chain);
	if (waits)
		fs->parked[fs->parked_count++] = *held;
	return waits;
}

static void host_changed(void *arg, int fd, unsigned ready)
{
	(void)fd;
	(void)ready;
	answer(arg);
}

/* The session's inotify is there from the first watch on. */
static void listen_to_host(struct virtio_fs *fs)
{
	int fd = fs->session->changes.fd;
	if (fd >= 0 && !fs->listening)
		fs->listening = loop__add(fs->dev.loop, fd, LOOP_READ, host_changed, fs) == 0;
}

/* Serve up to BATCH requests of a queue. */
static void serve(struct virtio_fs *fs, struct virtqueue *vq)
{
	struct virtqueue_chain chain;
	struct held held = {.vq = vq};
	size_t moved = 0;
	unsigned count = serve_parked(fs);
	/* a full one is for no honest guest: what comes next is left where it is */
	while (count < BATCH && fs->parked_count < PARKED_MAX && virtqueue__pop(vq, &chain) == 1) {
		moved += chain.readable_bytes + chain.writable_bytes;
		held.head = chain.head;
		if (!park(fs, &held, &chain))
			handle(fs, &held, &chain);
		count++;
		if (moved >= NOTIFY_BYTES) {
			virtqueue__notify(vq);
			moved = 0;
		}
	}
	virtqueue__notify(vq);
	listen_to_host(fs);
	answer(fs); /* what a request has found on its way, or that none is to wait any more */
	await_sync(fs);
	answer_locks(fs);
	atomic_fetch_add_explicit(&fs->dev.traffic.requests, count, memory_order_relaxed);
	atomic_store_explicit(&fs->dev.traffic.from_guest, fs->session->written, memory_order_relaxed);
	atomic_store_explicit(&fs->dev.traffic.to_guest, fs->session->read, memory_order_relaxed);
	if (count == BATCH) /* there may be more: come back by way of the loop */
		bell__ring(vq->kick_fd);
}

static void fs_queue_ready(struct virtio_device *dev, unsigned index)
{
	if (index == QUEUE_REQUESTS && virtqueue__pending(&dev->queues[QUEUE_URGENT]))
		serve(fs_of(dev), &dev->queues[QUEUE_URGENT]);
	if (index == QUEUE_URGENT || index == QUEUE_REQUESTS)
		serve(fs_of(dev), &dev->queues[index]);
}

bool virtio_fs__is_layered(const struct virtio_device *dev)
{
	const struct fs_session *session = ((const struct virtio_fs *)dev)->session;
	for (unsigned i = 0; i < session->share_count; i++)
		if (session->shares[i].layer)
			return true;
	return false;
}

void virtio_fs__stand(struct virtio_device *dev, bool stands)
{
	atomic_store(&fs_of(dev)->stands, stands);
}

void virtio_fs__look(struct virtio_device *dev)
{
	const struct fs_session *session = fs_of(dev)->session;
	for (unsigned i = 0; i < session->share_count; i++)
		if (session->shares[i].layer)
			union__applied(session->shares[i].layer);
	fs_queue_ready(dev, QUEUE_REQUESTS);
}

bool virtio_fs__use(const struct virtio_device *dev, unsigned index, struct fs_use *use)
{
	return use__get(((const struct virtio_fs *)dev)->session, index, use);
}

unsigned virtio_fs__shares(const struct virtio_device *dev, struct confine_share *shares, bool *foreign_owners)
{
	const struct fs_session *session = ((const struct virtio_fs *)dev)->session;
	unsigned count = 0;
	for (unsigned i = 0; i < session->share_count; i++) {
		const struct fs_share *share = &session->shares[i];
		const struct fs_inode *root = share->root->under ? share->root->under : share->root;
		if (shares)
			shares[count] =
				(struct confine_share){.fd = root->fd, .read_only = share->read_only || share->layer};
		count++;
		if (share->layer && shares)
			shares[count] = (struct confine_share){
				.fd = share->layer->fd, .read_only = share->read_only, .whiteouts = true};
		count += share->layer != NULL;
		*foreign_owners =
			*foreign_owners || share->ownership == FS_OWNER_PASSTHROUGH || share->ownership == FS_OWNER_MAP;
	}
	return count;
}

static void fs_reset(struct virtio_device *dev)
{
	struct virtio_fs *fs = fs_of(dev);
	session__reset(fs->session);
	loop__timer_cancel(dev->loop, fs->sync_timer);
	fs->sync_timer = 0;
	fs->sync_count = 0; /* they went with the queues */
	loop__timer_cancel(dev->loop, fs->lock_timer);
	fs->lock_timer = 0;
	fs->lock_count = 0;
	fs->parked_count = 0;
	lock__end(fs->session);
	fs->waiting.vq = NULL;
	fs->session->changes.waiting = false;
}

static void fs_destroy(struct virtio_device *dev)
{
	struct virtio_fs *fs = fs_of(dev);
	if (fs->listening)
		loop__del(dev->loop, fs->session->changes.fd);
	session__free(fs->session);
	free(dev);
}

static void fs_properties(struct virtio_device *dev, char *to, size_t size)
{
	const struct virtio_fs *fs = fs_of(dev);
	snprintf(to, size, ",queue-size=%d,num-request-queues=%u,tag=%.*s", VIRTQUEUE_MAX_SIZE,
		 fs->config.num_request_queues, TAG_BYTES, (const char *)fs->config.tag);
}

static const struct virtio_device_ops fs_ops = {
	.name = "fs",
	.id = VIRTIO_ID_FS,
	.num_queues = 2,
	.front_end = {.device = "vhost-user-fs-device", .properties = fs_properties},
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
	if (!tag_len || tag_len > TAG_BYTES || !options->roots.count || (options->single && options->roots.count != 1))
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
