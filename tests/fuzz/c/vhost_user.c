/* Fuzzes the vhost-user back end: the input is what a front end sends, with real memory and event descriptors where the
 * messages want some. */
#include "engine/qemu/vhost_user.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../unit/c/front_end.h"
#include "engine/qemu/vhost_user_protocol.h"
#include "input.h"

#define MEMORY 65536
#define GPA 0x10000U
#define USER 0x100000000ULL
#define MAX_MESSAGES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct probe {
	struct virtio_device dev;
	struct loop *loop;
	bool active;
};

static int probe__activate(struct virtio_device *dev)
{
	require(!((struct probe *)dev)->active);
	((struct probe *)dev)->active = true;
	return 0;
}

static void probe__queue_ready(struct virtio_device *dev, unsigned index)
{
	struct virtqueue_chain chain;
	require(((struct probe *)dev)->active);
	while (virtqueue__pop(&dev->queues[index], &chain) > 0) {
		for (unsigned i = 0; i < chain.writable_count; i++)
			memset(chain.writable[i].iov_base, 0x5a, chain.writable[i].iov_len);
		virtqueue__push(&dev->queues[index], chain.head, (uint32_t)chain.writable_bytes);
	}
	virtqueue__notify(&dev->queues[index]);
}

static void probe__reset(struct virtio_device *dev)
{
	require(((struct probe *)dev)->active);
	((struct probe *)dev)->active = false;
}

static void probe__read_config(struct virtio_device *dev, size_t offset, void *to, size_t n)
{
	(void)dev;
	memcpy(to, &"0123456789abcdef"[offset], n);
}

static void probe__write_config(struct virtio_device *dev, size_t offset, const void *from, size_t n)
{
	(void)dev;
	require(offset + n <= 16 && (n == 0 || from));
}

static const struct virtio_device_ops ops = {
	.name = "probe",
	.id = VIRTIO_ID_RNG,
	.num_queues = 3,
	.features = 7,
	.config_size = 16,
	.read_config = probe__read_config,
	.write_config = probe__write_config,
	.activate = probe__activate,
	.queue_ready = probe__queue_ready,
	.reset = probe__reset,
};

static void on_broken(void *arg, const struct failure *why)
{
	struct probe *probe = arg;
	require(strcmp(why->code, "EPROTO") == 0 && why->message[0]);
	loop__stop(probe->loop);
}

static void on_time(void *arg)
{
	loop__stop(arg);
}

/* Send one message of the input: `take` bytes of it as payload, descriptors as the first byte says. */
static bool send_message(int fd, int memfd, const uint8_t **data, size_t *len)
{
	const uint8_t *in = *data;
	if (*len < 3)
		return false;
	size_t payload = in[2];
	if (payload > *len - 3)
		payload = *len - 3;
	/* a plausible message mostly, and a header out of the input now and then */
	struct vhost_user_header header = {in[0] & 31, VHOST_USER_VERSION | (in[1] & VHOST_USER_NEED_REPLY),
					   (uint32_t)payload};
	if (in[0] & 0x80)
		header.flags = in[1];
	if (in[0] & 0x40)
		header.size = in[1];
	int fds[16];
	unsigned count = in[1] >> 4;
	bool kick = header.request >= VHOST_USER_SET_VRING_KICK && header.request <= VHOST_USER_SET_VRING_ERR;
	for (unsigned i = 0; i < count; i++)
		fds[i] = kick && !(in[1] & 4) ? eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC) : dup(memfd);
	bool sent = front_end__send(fd, &header, in + 3, payload, fds, count, MSG_DONTWAIT) > 0;
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
	*data += 3 + payload;
	*len -= 3 + payload;
	return sent;
}

/* A front end that has set everything up and started two rings on the input: what follows is the input's. */
static void send_prelude(int fd, int memfd)
{
	struct vhost_user_memory memory = {.count = 1, .regions = {{.gpa = GPA, .size = MEMORY, .user = USER}}};
	uint8_t message[3 + 40] = {VHOST_USER_SET_MEM_TABLE, 0x10, 40};
	uint64_t features = VHOST_USER_F_PROTOCOL_FEATURES | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_INDIRECT_DESC;
	memcpy(message + 3, &memory, 40);
	const uint8_t *at = message;
	size_t left = sizeof(message);
	send_message(fd, memfd, &at, &left);
	uint8_t set[3 + 8] = {VHOST_USER_SET_FEATURES, 0, 8};
	memcpy(set + 3, &features, 8);
	at = set;
	left = sizeof(set);
	send_message(fd, memfd, &at, &left);
	for (uint32_t i = 0; i < 2; i++) {
		uint8_t num[3 + 8] = {VHOST_USER_SET_VRING_NUM, 0, 8, (uint8_t)i, 0, 0, 0, 8};
		uint64_t base = USER + i * 0x1000;
		struct vhost_user_vring_addr addr = {i, 0, base, base + 0x800, base + 0x400, 0};
		uint8_t where[3 + 40] = {VHOST_USER_SET_VRING_ADDR, 0, 40};
		uint8_t kick[3 + 8] = {VHOST_USER_SET_VRING_KICK, 0x10, 8, (uint8_t)i};
		memcpy(where + 3, &addr, 40);
		const struct {
			const uint8_t *bytes;
			size_t len;
		} list[] = {{num, sizeof(num)}, {where, sizeof(where)}, {kick, sizeof(kick)}};
		for (unsigned m = 0; m < 3; m++) {
			at = list[m].bytes;
			left = list[m].len;
			send_message(fd, memfd, &at, &left);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct probe probe = {.dev = {.ops = &ops}};
	struct vhost_user *back;
	int pair[2];
	if (len < 64 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return 0;
	int memfd = memfd_create("fuzz", MFD_CLOEXEC);
	require(memfd >= 0 && ftruncate(memfd, MEMORY) == 0 && pwrite(memfd, data, len, 0) >= 0);
	require(loop__new(&probe.loop) == 0);
	probe.dev.loop = probe.loop;
	struct vhost_user_options options = {.fd = pair[1], .config = data[0] & 1, .broken = on_broken, .arg = &probe};
	require(vhost_user__new(&probe.dev, &options, &back) == 0);
	if (data[0] & 2)
		send_prelude(pair[0], memfd);
	data++;
	len--;
	for (unsigned i = 0; i < MAX_MESSAGES && send_message(pair[0], memfd, &data, &len); i++)
		;
	uint64_t timer;
	require(loop__timer(probe.loop, 0, on_time, probe.loop, &timer) == 0);
	if (len && data[0] & 1) /* the end of the stream is seen, too */
		shutdown(pair[0], SHUT_WR);
	loop__run(probe.loop);
	vhost_user__free(back);
	require(!probe.active);
	loop__free(probe.loop);
	close(pair[0]);
	close(memfd);
	return 0;
}
