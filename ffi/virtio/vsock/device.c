/* virtio-vsock: the device, and what its guest sends. */
#include "virtio/vsock.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/writer.h"
#include "virtio/vsock/stream.h"

#define TURN_PACKETS 256      /* handled before other sources of the loop have their turn */
#define TURN_BYTES (1U << 20) /* likewise */

/* The guest wants a stream to a host port. */
static void accept_request(struct vsock *v, const struct vsock_hdr *hdr)
{
	struct vsock_stream *s = NULL;
	int fd = v->ports->connect(v->ports_owner, hdr->dst_port);
	if (fd < 0 || vsock_stream__new(v, hdr->src_port, hdr->dst_port, fd, VSOCK_OPEN, &s)) {
		vsock_rx__send_reset(v, hdr->src_port, hdr->dst_port, VSOCK_TYPE_STREAM);
		return;
	}
	s->peer_window = hdr->buf_alloc;
	s->peer_taken = hdr->fwd_cnt;
	vsock_rx__send(s, VSOCK_SEND_RESPONSE);
	vsock_rx__wait(s);
}

/* The guest has taken our request. */
static void response(struct vsock_stream *s)
{
	if (s->state != VSOCK_CONNECTING || (s->send & VSOCK_SEND_REQUEST)) {
		vsock_stream__reset(s);
		return;
	}
	s->state = VSOCK_OPEN;
	vsock_rx__wait(s);
}

/* Leave out the first `skip` bytes, in place. */
static void advance(struct iovec **iov, unsigned *count, size_t skip)
{
	for (; *count && skip >= (*iov)->iov_len; ++*iov, --*count)
		skip -= (*iov)->iov_len;
	if (*count) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + skip;
		(*iov)->iov_len -= skip;
	}
}

/* Keep only the first `len` bytes. */
static unsigned shorten(struct iovec *iov, unsigned count, size_t len)
{
	for (unsigned i = 0; i < count; i++) {
		if (iov[i].iov_len >= len) {
			iov[i].iov_len = len;
			return len ? i + 1 : i;
		}
		len -= iov[i].iov_len;
	}
	return count;
}

static void data(struct vsock_stream *s, const struct vsock_hdr *hdr, struct virtqueue_chain *chain)
{
	struct iovec *iov = chain->readable;
	unsigned count = chain->readable_count;
	advance(&iov, &count, sizeof(*hdr));
	count = shorten(iov, count, hdr->len);
	vsock_stream__deliver(s, iov, count, hdr->len);
}

static void packet_of_stream(struct vsock_stream *s, const struct vsock_hdr *hdr, struct virtqueue_chain *chain)
{
	bool had_room = vsock_stream__credit(s) > 0;
	s->peer_window = hdr->buf_alloc;
	s->peer_taken = hdr->fwd_cnt;
	if (!had_room && vsock_stream__credit(s))
		vsock_rx__wait(s);
	switch (hdr->op) {
	case VSOCK_OP_RESPONSE:
		response(s);
		break;
	case VSOCK_OP_RW:
		data(s, hdr, chain);
		break;
	case VSOCK_OP_CREDIT_UPDATE:
		vsock_stream__arm(s);
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		vsock_rx__send(s, VSOCK_SEND_CREDIT);
		break;
	case VSOCK_OP_SHUTDOWN:
		vsock_stream__guest_shutdown(s, hdr->flags);
		break;
	case VSOCK_OP_RST:
		vsock_stream__guest_gone(s);
		break;
	default: /* a second request, or an operation we do not know */
		vsock_stream__reset(s);
	}
}

static void packet(struct vsock *v, struct virtqueue_chain *chain)
{
	struct vsock_hdr hdr;
	if (iov__read(chain->readable, chain->readable_count, 0, &hdr, sizeof(hdr)) < sizeof(hdr) ||
	    hdr.src_cid != v->guest_cid || hdr.dst_cid != VSOCK_HOST_CID ||
	    hdr.len > chain->readable_bytes - sizeof(hdr)) {
		v->bad++;
		return;
	}
	struct vsock_stream *s = vsock_stream__find(v, hdr.src_port, hdr.dst_port);
	if (hdr.type == VSOCK_TYPE_STREAM && s)
		packet_of_stream(s, &hdr, chain);
	else if (hdr.type == VSOCK_TYPE_STREAM && hdr.op == VSOCK_OP_REQUEST)
		accept_request(v, &hdr);
	else if (hdr.op != VSOCK_OP_RST)
		vsock_rx__send_reset(v, hdr.src_port, hdr.dst_port, hdr.type);
}

/* Handle what the guest has sent, a bounded part of it a turn. */
static void serve(void *arg)
{
	struct vsock *v = arg;
	struct virtqueue *vq = &v->dev.queues[VSOCK_TX];
	struct virtqueue_chain chain;
	unsigned packets = 0;
	size_t bytes = 0;
	v->next_turn = 0;
	while (packets < TURN_PACKETS && bytes < TURN_BYTES && virtqueue__pop(vq, &chain) > 0) {
		uint16_t head = chain.head;
		bytes += chain.readable_bytes;
		packets++;
		packet(v, &chain);
		virtqueue__push(vq, head, 0);
	}
	virtqueue__notify(vq);
	/* without memory for the timer the guest's next kick goes on */
	if ((packets == TURN_PACKETS || bytes >= TURN_BYTES) && loop__timer(v->dev.loop, 0, serve, v, &v->next_turn))
		v->next_turn = 0;
	vsock_rx__pump(v);
}

static void vsock__queue_ready(struct virtio_device *dev, unsigned index)
{
	struct vsock *v = (struct vsock *)dev;
	if (!v->active)
		return;
	if (index == VSOCK_TX && !v->next_turn)
		serve(v);
	else if (index == VSOCK_RX)
		vsock_rx__pump(v);
}

static void vsock__read_config(struct virtio_device *dev, size_t offset, void *to, size_t len)
{
	memcpy(to, (const uint8_t *)&((struct vsock *)dev)->guest_cid + offset, len);
}

static void vsock__write_config(struct virtio_device *dev, size_t offset, const void *from, size_t len)
{
	(void)dev, (void)offset, (void)from, (void)len; /* all of it is read-only */
}

static int vsock__activate(struct virtio_device *dev)
{
	struct vsock *v = (struct vsock *)dev;
	v->active = true;
	vsock_rx__pump(v);
	return 0;
}

static void vsock__reset(struct virtio_device *dev)
{
	struct vsock *v = (struct vsock *)dev;
	v->active = false;
	loop__timer_cancel(dev->loop, v->next_turn);
	v->next_turn = 0;
	while (!TAILQ_EMPTY(&v->streams))
		vsock_stream__free(TAILQ_FIRST(&v->streams));
	v->resets_start = v->resets_len = 0;
}

static void vsock__destroy(struct virtio_device *dev)
{
	struct vsock *v = (struct vsock *)dev;
	vsock__reset(dev);
	vsock__close_listeners(v);
	close(v->dir_fd);
	free(v);
}

/* Streams end with the process that has their sockets: the guest hears of a reset for each. */
struct saved_vsock {
	uint64_t cid;
	CBOR_LIST_OF(struct vsock_reset) resets;
};

static const struct cbor_field reset_fields[] = {
	{.key = "guestPort", .kind = CBOR_U32, .required = true, .offset = offsetof(struct vsock_reset, guest_port)},
	{.key = "hostPort", .kind = CBOR_U32, .required = true, .offset = offsetof(struct vsock_reset, host_port)},
	{.key = "type", .kind = CBOR_U16, .required = true, .offset = offsetof(struct vsock_reset, type)},
};
static const struct cbor_table reset_table = CBOR_TABLE("saved-reset", reset_fields);
static const struct cbor_field reset_item = {.kind = CBOR_TUPLE, .table = &reset_table};

static const struct cbor_field saved_fields[] = {
	{.key = "cid", .kind = CBOR_U64, .required = true, .offset = offsetof(struct saved_vsock, cid)},
	{.key = "resets",
	 .kind = CBOR_LIST,
	 .required = true,
	 .offset = offsetof(struct saved_vsock, resets),
	 .item = &reset_item,
	 .size = sizeof(struct vsock_reset),
	 .max = VSOCK_MAX_STREAMS + VSOCK_MAX_RESETS},
};
static const struct cbor_table saved_table = CBOR_TABLE("saved-vsock", saved_fields);

static void save_reset(struct writer *out, const struct vsock_reset *reset)
{
	writer__list(out, NULL, 3);
	writer__uint(out, NULL, reset->guest_port);
	writer__uint(out, NULL, reset->host_port);
	writer__uint(out, NULL, reset->type);
}

static void vsock__save(const struct virtio_device *dev, struct writer *out)
{
	const struct vsock *v = (const struct vsock *)dev;
	const struct vsock_stream *s;
	unsigned lingering = 0;
	TAILQ_FOREACH(s, &v->streams, all)
	lingering += s->state == VSOCK_LINGERING;
	writer__uint(out, "cid", v->guest_cid);
	writer__list(out, "resets", v->resets_len + v->stream_count - lingering);
	for (unsigned i = 0; i < v->resets_len; i++)
		save_reset(out, &v->resets[(v->resets_start + i) % VSOCK_MAX_RESETS]);
	TAILQ_FOREACH(s, &v->streams, all)
	{
		const struct vsock_reset reset = {s->guest_port, s->host_port, VSOCK_TYPE_STREAM};
		if (s->state != VSOCK_LINGERING) /* such a one the guest has forgotten */
			save_reset(out, &reset);
	}
}

static int vsock__load(struct virtio_device *dev, const void *saved, struct failure *why)
{
	const struct saved_vsock *from = saved;
	struct vsock *v = (struct vsock *)dev;
	if (from->cid != v->guest_cid)
		return failure__set(why, EINVAL, NULL, "the vsock device had another address when it was saved");
	for (unsigned i = 0; i < from->resets.count; i++) {
		const struct vsock_reset *reset = &from->resets.at[i];
		vsock_rx__send_reset(v, reset->guest_port, reset->host_port, reset->type);
	}
	return 0;
}

static const struct virtio_device_ops vsock_ops = {
	.name = "vsock",
	.id = VIRTIO_ID_VSOCK,
	.num_queues = VSOCK_QUEUES,
	.front_end = {.device = "vhost-user-vsock-device", .config = true},
	.config_size = sizeof(uint64_t),
	.read_config = vsock__read_config,
	.write_config = vsock__write_config,
	.activate = vsock__activate,
	.queue_ready = vsock__queue_ready,
	.reset = vsock__reset,
	.destroy = vsock__destroy,
	.saved = &saved_table,
	.saved_size = sizeof(struct saved_vsock),
	.save = vsock__save,
	.load = vsock__load,
};

int virtio_vsock__new(const struct vsock_options *options, struct virtio_device **out)
{
	if (options->guest_cid <= VSOCK_HOST_CID || options->guest_cid >= UINT32_MAX)
		return -EINVAL;
	struct vsock *v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	if (getentropy(&v->seed, sizeof(v->seed)) < 0) {
		free(v);
		return -ENOMEM;
	}
	v->dev.ops = &vsock_ops;
	v->guest_cid = options->guest_cid;
	v->dir_fd = options->dir_fd;
	v->ports = options->ports;
	v->ports_owner = options->ports_owner;
	TAILQ_INIT(&v->streams);
	TAILQ_INIT(&v->control);
	TAILQ_INIT(&v->waiting);
	*out = &v->dev;
	return 0;
}
