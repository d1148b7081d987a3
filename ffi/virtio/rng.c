/* virtio-rng: fills every buffer the guest offers with bytes of getentropy(3), a bounded number a turn. */
#include "virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define BYTES_MAX                                                                                                      \
	256 /* what getentropy(3) gives at once. A buffer may be answered short: section 5.4.6.1 asks for one byte at  \
	       least */
#define TURN_MAX 64 /* buffers filled before other sources of the loop have their turn */

struct rng {
	struct virtio_device dev;
	uint64_t next_turn; /* timer; 0: none */
};

static size_t fill(const struct virtqueue_chain *chain)
{
	size_t done = 0;
	for (unsigned i = 0; i < chain->writable_count && done < BYTES_MAX; i++) {
		size_t len = chain->writable[i].iov_len;
		if (len > BYTES_MAX - done)
			len = BYTES_MAX - done;
		if (getentropy(chain->writable[i].iov_base, len) < 0)
			break;
		done += len;
	}
	return done;
}

static void serve(void *arg)
{
	struct rng *rng = arg;
	struct virtqueue *vq = &rng->dev.queues[0];
	struct virtqueue_chain chain;
	unsigned served = 0;
	rng->next_turn = 0;
	while (served < TURN_MAX && virtqueue__pop(vq, &chain) > 0) {
		virtqueue__push(vq, chain.head, (uint32_t)fill(&chain));
		served++;
	}
	virtqueue__notify(vq);
	/* without memory for the timer the guest's next kick goes on */
	if (served == TURN_MAX && loop__timer(rng->dev.loop, 0, serve, rng, &rng->next_turn))
		rng->next_turn = 0;
}

static void rng__queue_ready(struct virtio_device *dev, unsigned index)
{
	struct rng *rng = (struct rng *)dev;
	if (index == 0 && !rng->next_turn)
		serve(rng);
}

static int rng__activate(struct virtio_device *dev)
{
	(void)dev;
	return 0;
}

static void rng__reset(struct virtio_device *dev)
{
	struct rng *rng = (struct rng *)dev;
	loop__timer_cancel(dev->loop, rng->next_turn);
	rng->next_turn = 0;
}

static void rng__destroy(struct virtio_device *dev)
{
	rng__reset(dev);
	free(dev);
}

static const struct cbor_table saved_table = {.name = "saved-rng"};

static const struct virtio_device_ops rng_ops = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.num_queues = 1,
	.front_end = {.device = "vhost-user-rng"},
	.activate = rng__activate,
	.queue_ready = rng__queue_ready,
	.reset = rng__reset,
	.destroy = rng__destroy,
	.saved = &saved_table,
};

int virtio_rng__new(struct virtio_device **out)
{
	struct rng *rng = calloc(1, sizeof(*rng));
	if (!rng)
		return -ENOMEM;
	rng->dev.ops = &rng_ops;
	*out = &rng->dev;
	return 0;
}

static int rng__make(const void *config, struct device_maker *maker, struct failure *why)
{
	struct virtio_device *dev;
	if (!*(const bool *)config)
		return 0;
	int err = virtio_rng__new(&dev);
	return err ? failure__set(why, -err, NULL, "the rng device cannot be made") : maker->add(maker, dev, why);
}

const struct device_kind device_rng = {
	.id = VIRTIO_ID_RNG,
	.field = {.key = "rng", .kind = CBOR_BOOL},
	.size = sizeof(bool),
	.thread = CONFINE_QUIET,
	.make = rng__make,
};
