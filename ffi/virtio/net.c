/* virtio-net: each frame of the guest is copied out of its memory, then checked; each for it goes into as many of its
 * buffers as it takes. Frames are as large as the MTU, 64 KiB: segmentation offloads would add nothing to that. */
#include "virtio/net.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/checksum.h"
#include "common/writer.h"

#define RX 0
#define TX 1
#define TURN_MAX 64            /* frames sent before other sources of the loop have their turn */
#define WAITING_MAX (4U << 20) /* bytes of frames that wait for the guest's buffers */

/* Section 5.1.3. */
#define F_CSUM (1ULL << 0)       /* the driver may leave checksums to the device */
#define F_GUEST_CSUM (1ULL << 1) /* the device may vouch for checksums */
#define F_MTU (1ULL << 3)
#define F_MAC (1ULL << 5)
#define F_MRG_RXBUF (1ULL << 15)
#define F_STATUS (1ULL << 16)

/* Section 5.1.4. */
struct config {
	uint8_t mac[VIRTIO_NET_MAC];
	uint16_t status;
	uint16_t max_virtqueue_pairs; /* without F_MQ no driver reads it */
	uint16_t mtu;
} __attribute__((packed));

#define STATUS_LINK_UP 1

/* Section 5.1.6; with VERSION_1 it has num_buffers, whatever else was negotiated. */
struct header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};

_Static_assert(sizeof(struct config) == 12 && sizeof(struct header) == 12, "as the specification has them");

#define HDR sizeof(struct header)
#define HDR_NEEDS_CSUM 1
#define HDR_DATA_VALID 2

struct waiting {
	STAILQ_ENTRY(waiting) next;
	size_t len;
	uint8_t frame[];
};

struct net {
	struct virtio_device dev;
	struct config config;
	const struct virtio_net_link *link;
	void *arg;
	bool up;
	uint64_t next_turn; /* timer; 0: none */
	STAILQ_HEAD(, waiting) waiting;
	size_t waiting_bytes;
	uint64_t bad;     /* frames and buffers that no correct driver offers */
	uint64_t dropped; /* frames for the guest */
	uint8_t frame[VIRTIO_NET_ETHERNET + VIRTIO_NET_MTU_MAX];
};

/* From the guest */

/* Section 5.1.6.2: from csum_start to the end, into the 16 bits at csum_offset from there, which hold the sum of the
 * pseudo header. */
static bool complete_checksum(uint8_t *frame, size_t len, const struct header *hdr)
{
	size_t at = (size_t)hdr->csum_start + hdr->csum_offset;
	if (at + sizeof(uint16_t) > len)
		return false;
	uint16_t sum = checksum__end(checksum__add(0, frame + hdr->csum_start, len - hdr->csum_start));
	memcpy(frame + at, &sum, sizeof(sum));
	return true;
}

static bool take(struct net *net, const struct virtqueue_chain *chain)
{
	struct header hdr;
	size_t most = VIRTIO_NET_ETHERNET + (size_t)net->config.mtu;
	if (chain->readable_bytes < HDR + VIRTIO_NET_ETHERNET || chain->readable_bytes > HDR + most)
		return false;
	size_t len = chain->readable_bytes - HDR;
	iov__read(chain->readable, chain->readable_count, 0, &hdr, HDR);
	iov__read(chain->readable, chain->readable_count, HDR, net->frame, len);
	if (hdr.gso_type) /* not negotiated */
		return false;
	if ((hdr.flags & HDR_NEEDS_CSUM) &&
	    (!(net->dev.driver_features & F_CSUM) || !complete_checksum(net->frame, len, &hdr)))
		return false;
	atomic_fetch_add_explicit(&net->dev.traffic.from_guest, len, memory_order_relaxed);
	net->link->transmit(net->arg, net->frame, len);
	return true;
}

static uint64_t link_wait(const struct net *net)
{
	return net->link->wait ? net->link->wait(net->arg) : 0;
}

static void transmit(void *arg)
{
	struct net *net = arg;
	struct virtqueue *vq = &net->dev.queues[TX];
	struct virtqueue_chain chain;
	unsigned sent = 0;
	uint64_t wait = 0;
	net->next_turn = 0;
	while (sent < TURN_MAX && !(wait = link_wait(net)) && virtqueue__pop(vq, &chain) > 0) {
		if (!take(net, &chain))
			net->bad++;
		virtqueue__push(vq, chain.head, 0);
		sent++;
	}
	virtqueue__notify(vq);
	virtio_net__flush(&net->dev);
	/* without memory for the timer the guest's next kick goes on */
	if ((sent == TURN_MAX || wait) && loop__timer(net->dev.loop, wait, transmit, net, &net->next_turn))
		net->next_turn = 0;
}

/* To the guest */

/* Where the header of the frame under way is, whose count of buffers is known at its end. */
struct first_buffer {
	struct iovec iov[HDR];
	unsigned count;
};

static void first__remember(struct first_buffer *first, const struct virtqueue_chain *chain)
{
	size_t bytes = 0;
	for (first->count = 0; bytes < HDR; first->count++) {
		first->iov[first->count] = chain->writable[first->count];
		bytes += chain->writable[first->count].iov_len;
	}
}

/* The guest's next buffer that holds more than `more` bytes; lesser ones are given back empty. A guest that offers
 * nothing else has none. */
static bool next_buffer(struct net *net, size_t more, struct virtqueue_chain *chain)
{
	struct virtqueue *vq = &net->dev.queues[RX];
	for (unsigned tries = 0; tries < VIRTQUEUE_MAX_SIZE && virtqueue__pop(vq, chain) > 0; tries++) {
		if (chain->writable_bytes > more)
			return true;
		net->bad++;
		virtqueue__push(vq, chain->head, 0);
	}
	return false;
}

/* Put the frame into the guest's buffers, one after the other where it merges them; false when there are too few now:
 * then none is used. One that a driver which does not merge has too small a buffer for is dropped. */
static bool give(struct net *net, const uint8_t *frame, size_t len)
{
	struct {
		uint16_t head;
		uint32_t written;
	} used[VIRTQUEUE_MAX_SIZE];
	struct virtqueue *vq = &net->dev.queues[RX];
	struct virtqueue_chain chain;
	struct first_buffer first = {.count = 0};
	bool merge = net->dev.driver_features & F_MRG_RXBUF;
	unsigned count = 0, most = merge ? vq->size : 1;
	size_t done = 0;
	while (done < len && count < most && next_buffer(net, count ? 0 : HDR, &chain)) {
		size_t skip = count ? 0 : HDR;
		if (!count)
			first__remember(&first, &chain);
		size_t n = iov__write(chain.writable, chain.writable_count, skip, frame + done, len - done);
		used[count].head = chain.head;
		used[count++].written = (uint32_t)(skip + n);
		done += n;
	}
	if (done < len) {
		while (count--)
			virtqueue__unpop(vq);
		net->dropped += !merge && done;
		return !merge && done;
	}
	const struct header hdr = {
		.flags = net->dev.driver_features & F_GUEST_CSUM ? HDR_DATA_VALID : 0,
		.num_buffers = (uint16_t)count,
	};
	iov__write(first.iov, first.count, 0, &hdr, HDR);
	for (unsigned i = 0; i < count; i++)
		virtqueue__push(vq, used[i].head, used[i].written);
	atomic_fetch_add_explicit(&net->dev.traffic.to_guest, len, memory_order_relaxed);
	return true;
}

static void give_waiting(struct net *net)
{
	struct waiting *w;
	while ((w = STAILQ_FIRST(&net->waiting)) && give(net, w->frame, w->len)) {
		STAILQ_REMOVE_HEAD(&net->waiting, next);
		net->waiting_bytes -= w->len;
		free(w);
	}
}

static void forget_waiting(struct net *net)
{
	struct waiting *w;
	while ((w = STAILQ_FIRST(&net->waiting))) {
		STAILQ_REMOVE_HEAD(&net->waiting, next);
		free(w);
	}
	net->waiting_bytes = 0;
}

void virtio_net__receive(struct virtio_device *dev, const uint8_t *frame, size_t len)
{
	struct net *net = (struct net *)dev;
	if (!net->up || len < VIRTIO_NET_ETHERNET || len > VIRTIO_NET_ETHERNET + (size_t)net->config.mtu) {
		net->dropped++;
		return;
	}
	give_waiting(net);
	if (STAILQ_EMPTY(&net->waiting) && give(net, frame, len))
		return;
	struct waiting *w = net->waiting_bytes + len <= WAITING_MAX ? malloc(sizeof(*w) + len) : NULL;
	if (!w) {
		net->dropped++;
		return;
	}
	w->len = len;
	memcpy(w->frame, frame, len);
	STAILQ_INSERT_TAIL(&net->waiting, w, next);
	net->waiting_bytes += len;
}

void virtio_net__flush(struct virtio_device *dev)
{
	virtqueue__notify(&dev->queues[RX]);
}

/* The device */

void *virtio_net__arg(struct virtio_device *dev)
{
	return ((struct net *)dev)->arg;
}

static void net__queue_ready(struct virtio_device *dev, unsigned index)
{
	struct net *net = (struct net *)dev;
	if (!net->up)
		return;
	if (index == RX) {
		give_waiting(net);
		virtio_net__flush(dev);
	} else if (!net->next_turn) {
		transmit(net);
	}
}

static int net__activate(struct virtio_device *dev)
{
	struct net *net = (struct net *)dev;
	int err = net->link->up(net->arg);
	net->up = err == 0;
	return err;
}

static void net__reset(struct virtio_device *dev)
{
	struct net *net = (struct net *)dev;
	loop__timer_cancel(dev->loop, net->next_turn);
	net->next_turn = 0;
	if (net->up)
		net->link->down(net->arg);
	net->up = false;
	forget_waiting(net);
}

static void net__destroy(struct virtio_device *dev)
{
	struct net *net = (struct net *)dev;
	net__reset(dev);
	net->link->destroy(net->arg);
	free(net);
}

static void net__read_config(struct virtio_device *dev, size_t offset, void *to, size_t len)
{
	struct net *net = (struct net *)dev;
	memcpy(to, (const uint8_t *)&net->config + offset, len);
}

/* Its configuration space is QEMU's, so QEMU is told what is in it; and to offer nothing that the device has not. */
static void net__properties(struct virtio_device *dev, char *to, size_t size)
{
	const struct config *config = &((struct net *)dev)->config;
	const uint8_t *mac = config->mac;
	snprintf(to, size,
		 ",mac=%02x:%02x:%02x:%02x:%02x:%02x,host_mtu=%u,rx_queue_size=%d,tx_queue_size=%d,ctrl_vq=off,"
		 "ctrl_rx=off,ctrl_vlan=off,ctrl_rx_extra=off,ctrl_mac_addr=off,guest_announce=off,mq=off",
		 mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], config->mtu, VIRTQUEUE_MAX_SIZE, VIRTQUEUE_MAX_SIZE);
}

/* What its driver knows of it. Frames under way are lost, as on any cable; so is what its link knows. */
struct saved_net {
	uint8_t mac[VIRTIO_NET_MAC];
	uint16_t mtu;
};

static const struct cbor_field saved_fields[] = {
	{.key = "mac",
	 .kind = CBOR_DATA,
	 .required = true,
	 .offset = offsetof(struct saved_net, mac),
	 .max = VIRTIO_NET_MAC},
	{.key = "mtu", .kind = CBOR_U16, .required = true, .offset = offsetof(struct saved_net, mtu)},
};
static const struct cbor_table saved_table = CBOR_TABLE("saved-net", saved_fields);

static void net__save(const struct virtio_device *dev, struct writer *out)
{
	const struct net *net = (const struct net *)dev;
	writer__bytes(out, "mac", net->config.mac, VIRTIO_NET_MAC);
	writer__uint(out, "mtu", net->config.mtu);
}

static int net__load(struct virtio_device *dev, const void *saved, struct failure *why)
{
	const struct saved_net *from = saved;
	const struct net *net = (const struct net *)dev;
	if (memcmp(from->mac, net->config.mac, VIRTIO_NET_MAC) == 0 && from->mtu == net->config.mtu)
		return 0;
	return failure__set(why, EINVAL, NULL, "the network card was another one when it was saved");
}

static const struct virtio_device_ops net_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.num_queues = 2,
	.front_end = {.device = "virtio-net-device", .netdev = true, .properties = net__properties},
	.features = F_CSUM | F_GUEST_CSUM | F_MTU | F_MAC | F_MRG_RXBUF | F_STATUS,
	.config_size = sizeof(struct config),
	.read_config = net__read_config,
	.activate = net__activate,
	.queue_ready = net__queue_ready,
	.reset = net__reset,
	.destroy = net__destroy,
	.saved = &saved_table,
	.saved_size = sizeof(struct saved_net),
	.save = net__save,
	.load = net__load,
};

int virtio_net__new(const struct virtio_net_options *options, struct virtio_device **out)
{
	if (options->mtu < 68 || options->mtu > VIRTIO_NET_MTU_MAX)
		return -EINVAL;
	struct net *net = calloc(1, sizeof(*net));
	if (!net)
		return -ENOMEM;
	net->dev.ops = &net_ops;
	net->config = (struct config){.status = STATUS_LINK_UP, .max_virtqueue_pairs = 1, .mtu = options->mtu};
	memcpy(net->config.mac, options->mac, sizeof(net->config.mac));
	net->link = options->link;
	net->arg = options->arg;
	STAILQ_INIT(&net->waiting);
	*out = &net->dev;
	return 0;
}
