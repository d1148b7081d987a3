/* vsock, packets to the guest: resets first, then headers of streams in turn, then data read straight into its buffers.
 */
#include <errno.h>
#include <string.h>

#include "virtio/vsock/stream.h"

#define HDR sizeof(struct vsock_hdr)
#define BURST_MIN (16U << 10)  /* bytes */
#define BURST_MAX (256U << 10) /* bytes */
#define BATCH_MAX 128          /* packets read at once */

_Static_assert(HDR == 44, "a packet header has 44 bytes");

/* One of the guest's buffers, taken for a batch. */
struct slot {
	uint16_t head;
	uint32_t room;                 /* for payload, bytes */
	unsigned iov_start, iov_count; /* where its header goes, in batch.header */
};

struct batch {
	unsigned count;
	struct slot slots[BATCH_MAX];
	unsigned header_count, payload_count;
	struct iovec header[VIRTQUEUE_MAX_SIZE];
	struct iovec payload[VIRTQUEUE_MAX_SIZE];
	size_t room; /* for payload, bytes */
};

static struct vsock_hdr header_of(const struct vsock *v, uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	return (struct vsock_hdr){
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = v->guest_cid,
		.src_port = host_port,
		.dst_port = guest_port,
		.type = VSOCK_TYPE_STREAM,
		.op = op,
	};
}

/* A header of a stream carries our side of the credit. */
static struct vsock_hdr header_of_stream(struct vsock_stream *s, uint16_t op)
{
	struct vsock_hdr hdr = header_of(s->vsock, s->guest_port, s->host_port, op);
	hdr.buf_alloc = VSOCK_WINDOW;
	hdr.fwd_cnt = s->taken_told = s->taken;
	return hdr;
}

/* The guest's next buffer that holds a header and `more` bytes; smaller ones are given back empty. A guest that offers
 * nothing else, and quickly, has none. */
static bool pop_buffer(struct vsock *v, size_t more, struct virtqueue_chain *chain)
{
	struct virtqueue *vq = &v->dev.queues[VSOCK_RX];
	for (unsigned tries = 0; tries < VIRTQUEUE_MAX_SIZE && virtqueue__pop(vq, chain) > 0; tries++) {
		if (chain->writable_bytes >= HDR + more)
			return true;
		v->bad++;
		virtqueue__push(vq, chain->head, 0);
	}
	return false;
}

/* Give the guest one packet without payload; false when it has no buffer for it. */
static bool put_header(struct vsock *v, const struct vsock_hdr *hdr)
{
	struct virtqueue_chain chain;
	if (!pop_buffer(v, 0, &chain))
		return false;
	iov__write(chain.writable, chain.writable_count, 0, hdr, HDR);
	virtqueue__push(&v->dev.queues[VSOCK_RX], chain.head, HDR);
	return true;
}

void vsock_rx__send(struct vsock_stream *s, unsigned what)
{
	if (!s->send)
		TAILQ_INSERT_TAIL(&s->vsock->control, s, control);
	s->send |= what;
}

void vsock_rx__send_reset(struct vsock *v, uint32_t guest_port, uint32_t host_port, uint16_t type)
{
	/* A guest that lets them pile up loses them: it gets another for each packet it sends to such a stream. */
	if (v->resets_len == VSOCK_MAX_RESETS)
		return;
	v->resets[(v->resets_start + v->resets_len++) % VSOCK_MAX_RESETS] =
		(struct vsock_reset){.guest_port = guest_port, .host_port = host_port, .type = type};
}

void vsock_rx__wait(struct vsock_stream *s)
{
	if (s->waiting || s->state != VSOCK_OPEN || s->host_silent)
		return;
	s->waiting = true;
	TAILQ_INSERT_TAIL(&s->vsock->waiting, s, wait);
}

static bool put_resets(struct vsock *v)
{
	for (; v->resets_len; v->resets_len--) {
		const struct vsock_reset *r = &v->resets[v->resets_start];
		struct vsock_hdr hdr = header_of(v, r->guest_port, r->host_port, VSOCK_OP_RST);
		hdr.type = r->type;
		if (!put_header(v, &hdr))
			return false;
		v->resets_start = (v->resets_start + 1) % VSOCK_MAX_RESETS;
	}
	return true;
}

static bool put_control(struct vsock_stream *s)
{
	static const struct {
		unsigned what;
		uint16_t op;
	} packets[] = {
		{VSOCK_SEND_REQUEST, VSOCK_OP_REQUEST},
		{VSOCK_SEND_RESPONSE, VSOCK_OP_RESPONSE},
		{VSOCK_SEND_SHUTDOWN, VSOCK_OP_SHUTDOWN},
		{VSOCK_SEND_CREDIT, VSOCK_OP_CREDIT_UPDATE},
	};
	for (unsigned i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
		if (!(s->send & packets[i].what))
			continue;
		struct vsock_hdr hdr = header_of_stream(s, packets[i].op);
		if (packets[i].what == VSOCK_SEND_SHUTDOWN)
			hdr.flags = s->our_shut;
		if (!put_header(s->vsock, &hdr))
			return false;
		s->send &= ~packets[i].what;
	}
	TAILQ_REMOVE(&s->vsock->control, s, control);
	return true;
}

/* Add the chain to the batch, for at most `want` bytes of payload; false when the batch has no place for its iovecs. */
static bool batch__add(struct batch *b, const struct virtqueue_chain *chain, size_t want)
{
	if (b->count == BATCH_MAX || b->header_count + chain->writable_count > VIRTQUEUE_MAX_SIZE ||
	    b->payload_count + chain->writable_count > VIRTQUEUE_MAX_SIZE)
		return false;
	size_t room = chain->writable_bytes - HDR, skip = HDR;
	if (room > want)
		room = want;
	struct slot *slot = &b->slots[b->count++];
	*slot = (struct slot){.head = chain->head, .room = (uint32_t)room, .iov_start = b->header_count};
	b->room += room;
	for (unsigned i = 0; i < chain->writable_count && room; i++) {
		struct iovec iov = chain->writable[i];
		if (skip) {
			b->header[b->header_count++] = iov;
			slot->iov_count++;
		}
		if (skip >= iov.iov_len) {
			skip -= iov.iov_len;
			continue;
		}
		iov.iov_base = (uint8_t *)iov.iov_base + skip;
		iov.iov_len -= skip;
		skip = 0;
		if (iov.iov_len > room)
			iov.iov_len = room;
		room -= iov.iov_len;
		b->payload[b->payload_count++] = iov;
	}
	return true;
}

/* Take buffers of the guest for up to `want` bytes of payload. */
static void batch__fill(struct batch *b, struct vsock *v, size_t want)
{
	struct virtqueue_chain chain;
	b->count = b->header_count = b->payload_count = 0;
	b->room = 0;
	while (b->room < want && pop_buffer(v, 1, &chain)) {
		if (!batch__add(b, &chain, want - b->room)) {
			virtqueue__unpop(&v->dev.queues[VSOCK_RX]);
			return;
		}
	}
}

/* `len` bytes were read into the batch: complete their packets, and put back the buffers that were not needed. */
static void batch__finish(struct batch *b, struct vsock_stream *s, size_t len)
{
	struct virtqueue *vq = &s->vsock->dev.queues[VSOCK_RX];
	struct vsock_hdr hdr = header_of_stream(s, VSOCK_OP_RW);
	unsigned used = 0;
	for (; used < b->count && len; used++) {
		const struct slot *slot = &b->slots[used];
		hdr.len = len < slot->room ? (uint32_t)len : slot->room;
		iov__write(b->header + slot->iov_start, slot->iov_count, 0, &hdr, HDR);
		virtqueue__push(vq, slot->head, (uint32_t)HDR + hdr.len);
		len -= hdr.len;
	}
	for (; used < b->count; used++)
		virtqueue__unpop(vq);
}

static void follow_traffic(struct vsock_stream *s, size_t got)
{
	if (got >= s->burst && s->burst < BURST_MAX)
		s->burst *= 2;
	else if (got < s->burst / 4 && s->burst > BURST_MIN)
		s->burst /= 2;
}

void vsock_rx__read(struct vsock_stream *s)
{
	if (s->state != VSOCK_OPEN || s->host_silent || s->waiting)
		return;
	if (!s->burst)
		s->burst = BURST_MIN;
	size_t want = vsock_stream__credit(s);
	if (want > s->burst)
		want = s->burst;
	if (!want) { /* goes on when the guest tells of room */
		vsock_stream__arm(s);
		return;
	}
	struct batch b;
	batch__fill(&b, s->vsock, want);
	if (!b.count) {
		vsock_rx__wait(s);
		vsock_stream__arm(s);
		return;
	}
	ssize_t got = readv(s->fd, b.payload, (int)b.payload_count);
	batch__finish(&b, s, got > 0 ? (size_t)got : 0);
	if (got > 0) {
		s->sent += (uint32_t)got;
		follow_traffic(s, (size_t)got);
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		vsock_stream__host_silent(s);
		return;
	}
	vsock_stream__arm(s);
}

void vsock_rx__pump(struct vsock *v)
{
	if (!v->active)
		return;
	bool room = put_resets(v);
	while (room && !TAILQ_EMPTY(&v->control))
		room = put_control(TAILQ_FIRST(&v->control));
	/* each stream that waits gets one turn; whoever finds no buffer goes to the end of the list, and that ends it
	 */
	struct vsock_stream *last = TAILQ_LAST(&v->waiting, vsock_streams);
	for (bool more = room && last; more && virtqueue__pending(&v->dev.queues[VSOCK_RX]);) {
		struct vsock_stream *s = TAILQ_FIRST(&v->waiting);
		more = s != last;
		TAILQ_REMOVE(&v->waiting, s, wait);
		s->waiting = false;
		vsock_rx__read(s);
	}
	/* a stream that ended above may have more to say */
	room = put_resets(v);
	while (room && !TAILQ_EMPTY(&v->control))
		room = put_control(TAILQ_FIRST(&v->control));
	virtqueue__notify(&v->dev.queues[VSOCK_RX]);
}
