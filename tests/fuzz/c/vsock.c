/* Fuzzes virtio-vsock: the input says, step by step, what a guest and the host's clients and servers do to it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "input.h"
#include "virtio/vsock/ports.h"
#include "virtio/vsock/stream.h"

#define CID 3
#define GUEST_PORT 5 /* listened on */
#define HOST_PORT 6  /* has a server */
#define RAM (1U << 17)
#define BASE 0x100000U
#define QUEUE 16
#define CLIENTS 4
#define STEPS 200 /* a bound for inputs that are long */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char dir[] = "vsock.XXXXXX"; /* in the working directory */
static int dir_fd = -1;

static int connect_port(void *owner, uint32_t port)
{
	(void)owner;
	return vsock_ports__connect(dir_fd, port);
}

static int listen_port(void *owner, uint32_t port)
{
	(void)owner;
	return vsock_ports__listen(dir_fd, port);
}

static struct sockaddr_un address(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s.sock", dir, name);
	return a;
}

static void clean_up(void)
{
	unlinkat(dir_fd, "host-6.sock", 0);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	require(mkdtemp(dir) != NULL);
	dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	require(dir_fd >= 0);
	atexit(clean_up);
	return 0;
}

/* A queue of the guest: descriptors are used in pairs, chain i has 2i and 2i+1. */
struct queue {
	uint8_t *rings; /* desc, avail, used */
	uint16_t avail_idx, used_idx;
	uint64_t bufs; /* guest address of QUEUE / 2 buffers */
	uint32_t buf_len;
};

struct run {
	struct input in;
	unsigned steps;
	struct loop *loop;
	struct virtio_device *dev;
	struct guest_memory mem;
	uint8_t *ram;
	struct queue queues[2];
	uint32_t seen_port; /* host port of the last stream the device opened */
	int clients[CLIENTS];
	int server, peer;
	bool scribbled; /* the rings are not what the device wrote */
};

static void boot(struct run *r)
{
	memset(r->ram, 0, RAM);
	for (unsigned i = 0; i < 2; i++) {
		struct queue *q = &r->queues[i];
		*q = (struct queue){.rings = r->ram + 4096UL * i, .bufs = BASE + 16384 + 40960UL * i, .buf_len = 5000};
		struct virtqueue *vq = &r->dev->queues[i];
		*vq = (struct virtqueue){
			.mem = &r->mem, .size = QUEUE, .event_idx = i, .indirect = true, .notify = {.fd = -1}};
		require(virtqueue__enable(vq, q->rings, q->rings + 1024, q->rings + 2048) == 0);
	}
	require(r->dev->ops->activate(r->dev) == 0);
}

static void reset(struct run *r)
{
	r->dev->ops->reset(r->dev);
	for (unsigned i = 0; i < 2; i++)
		virtqueue__disable(&r->dev->queues[i]);
	const struct vsock *v = (const struct vsock *)r->dev;
	require(v->stream_count == 0 && v->spill_bytes == 0);
}

/* Offer chain `slot` with two descriptors of these lengths (the second may be 0) and flags. */
static void offer(struct queue *q, uint16_t slot, uint32_t first, uint32_t second, uint16_t flags)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} d[2] = {{q->bufs + (uint64_t)slot * q->buf_len, first, (uint16_t)(flags | (second ? 1 : 0)),
		   (uint16_t)(2 * slot + 1)},
		  {q->bufs + (uint64_t)slot * q->buf_len + first, second, flags, 0}};
	memcpy(q->rings + 16UL * (2UL * slot), d, sizeof(d));
	uint16_t *avail = (uint16_t *)(void *)(q->rings + 1024);
	avail[2 + q->avail_idx % QUEUE] = (uint16_t)(2 * slot);
	avail[1] = ++q->avail_idx;
}

static void guest_packet(struct run *r)
{
	struct queue *q = &r->queues[VSOCK_TX];
	uint16_t slot = q->avail_idx % (QUEUE / 2);
	uint8_t kind = next8(&r->in), ports = next8(&r->in);
	const uint32_t guest_ports[] = {GUEST_PORT, 100, 101, ports},
		       host_ports[] = {r->seen_port, HOST_PORT, 7, ports};
	struct vsock_hdr hdr = {.src_cid = CID,
				.dst_cid = VSOCK_HOST_CID,
				.src_port = guest_ports[ports & 3],
				.dst_port = host_ports[ports >> 2 & 3],
				.type = VSOCK_TYPE_STREAM,
				.op = kind & 15,
				.flags = kind >> 6,
				.buf_alloc = ports & 0x80 ? next32(&r->in) : 1U << 18,
				.fwd_cnt = ports & 0x40 ? next32(&r->in) : 0};
	uint32_t payload = hdr.op == VSOCK_OP_RW ? next8(&r->in) * 17U : 0;
	hdr.len = payload;
	if (kind & 0x10)
		hdr.len = next32(&r->in);
	if (kind & 0x20)
		hdr.src_cid = next8(&r->in);
	memcpy(r->ram + (q->bufs + (uint64_t)slot * q->buf_len - BASE), &hdr, sizeof(hdr));
	uint32_t split = ports & 0x20 ? next8(&r->in) % (sizeof(hdr) + payload) + 1 : sizeof(hdr);
	offer(q, slot, split, (uint32_t)sizeof(hdr) + payload - split, 0);
	r->dev->ops->queue_ready(r->dev, VSOCK_TX);
}

/* Take what the device has sent: a whole packet each time, or nothing. */
static void guest_take(struct run *r)
{
	struct queue *q = &r->queues[VSOCK_RX];
	const uint16_t *used = (const uint16_t *)(const void *)(q->rings + 2048);
	while (q->used_idx != used[1]) {
		uint32_t elem[2];
		memcpy(elem, q->rings + 2048 + 4 + 8 * (q->used_idx++ % QUEUE), sizeof(elem));
		if (elem[0] >= QUEUE || elem[1] == 0)
			continue;
		struct vsock_hdr hdr;
		require(r->scribbled || (elem[1] >= sizeof(hdr) && elem[1] <= q->buf_len));
		memcpy(&hdr, r->ram + (q->bufs + (uint64_t)(elem[0] / 2) * q->buf_len - BASE), sizeof(hdr));
		if (hdr.op == VSOCK_OP_REQUEST)
			r->seen_port = hdr.src_port;
	}
}

static void client(struct run *r, uint8_t what)
{
	int *fd = &r->clients[what % CLIENTS];
	static const uint8_t bytes[1 + 7 * 10000];
	if (*fd < 0) {
		struct sockaddr_un a = address("5");
		*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(*fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
			close(*fd);
			*fd = -1;
		}
		return;
	}
	uint8_t sink[4096];
	switch (what >> 2 & 7) {
	case 0:
		close(*fd);
		*fd = -1;
		break;
	case 1:
		shutdown(*fd, SHUT_WR);
		break;
	case 2:
		shutdown(*fd, SHUT_RD);
		break;
	case 3:
	case 4:
		while (recv(*fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			continue;
		break;
	default:
		send(*fd, bytes, 1 + (what >> 5) * 10000U, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

static void server(struct run *r, uint8_t what)
{
	uint8_t sink[4096];
	if (r->peer < 0) {
		r->peer = accept4(r->server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		return;
	}
	if (what & 1) {
		send(r->peer, sink, what * 16U, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else if (what & 2) {
		recv(r->peer, sink, sizeof(sink), MSG_DONTWAIT);
	} else {
		close(r->peer);
		r->peer = -1;
	}
}

static void step(void *arg)
{
	struct run *r = arg;
	const struct vsock *v = (const struct vsock *)r->dev;
	if (!r->in.len || r->steps++ == STEPS) {
		loop__stop(r->loop);
		return;
	}
	uint8_t what = next8(&r->in);
	switch (what & 7) {
	case 0:
	case 1:
		guest_packet(r);
		break;
	case 2: {
		struct queue *q = &r->queues[VSOCK_RX];
		uint32_t first = what & 0x80 ? 44 : 1 + next8(&r->in) * 16U;
		offer(q, q->avail_idx % (QUEUE / 2), first, what & 0x40 ? next8(&r->in) : 0, what & 0x20 ? 0 : 2);
		r->dev->ops->queue_ready(r->dev, VSOCK_RX);
		break;
	}
	case 3:
		guest_take(r);
		break;
	case 4:
		client(r, next8(&r->in));
		break;
	case 5:
		server(r, next8(&r->in));
		break;
	case 6: /* the guest scribbles over its rings */
		if (what & 0x80) {
			r->scribbled = true;
			r->ram[next32(&r->in) % 8192] ^= next8(&r->in);
		}
		break;
	default:
		if (what & 0x80) {
			reset(r);
			boot(r);
		}
	}
	require(v->stream_count <= VSOCK_MAX_STREAMS && v->spill_bytes <= VSOCK_SPILL_MAX);
	require(loop__post(r->loop, step, r) == 0);
}

/* The lowest descriptor that is free: the same before and after, or one was leaked. */
static int lowest_free(void)
{
	int fd = dup(dir_fd);
	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int before = lowest_free();
	struct run r = {.in = {data, len}, .peer = -1};
	for (unsigned i = 0; i < CLIENTS; i++)
		r.clients[i] = -1;
	r.ram = calloc(1, RAM);
	r.mem = (struct guest_memory){.count = 1, .regions = {{.gpa = BASE, .size = RAM, .host = r.ram}}};
	struct sockaddr_un a = address("host-6");
	r.server = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	require(bind(r.server, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(r.server, 4) == 0);
	static const struct vsock_ports_ops ports = {connect_port, listen_port};
	struct vsock_options options = {.guest_cid = CID, .dir_fd = dup(dir_fd), .ports = &ports};
	require(virtio_vsock__new(&options, &r.dev) == 0);
	require(loop__new(&r.loop) == 0);
	r.dev->loop = r.loop;
	boot(&r);
	require(vsock__listen(r.dev, GUEST_PORT) == 0);
	require(loop__post(r.loop, step, &r) == 0);
	require(loop__run(r.loop) == 0);
	reset(&r);
	r.dev->ops->destroy(r.dev);
	loop__free(r.loop);
	for (unsigned i = 0; i < CLIENTS; i++)
		if (r.clients[i] >= 0)
			close(r.clients[i]);
	if (r.peer >= 0)
		close(r.peer);
	close(r.server);
	unlinkat(dir_fd, "host-6.sock", 0);
	free(r.ram);
	require(lowest_free() == before);
	return 0;
}
