/* Fuzzes what devices are loaded from: bytes as they are, or what a device has saved with some of them changed. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "input.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"

#define RAM 0x10000U

enum { RNG, BALLOON, CONSOLE, DISK, CARD, VSOCK, KINDS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int up(void *arg)
{
	(void)arg;
	return 0;
}

static void down(void *arg)
{
	(void)arg;
}

static void transmit(void *arg, const uint8_t *frame, size_t len)
{
	(void)arg, (void)frame, (void)len;
}

static int no_port(void *owner, uint32_t port)
{
	(void)owner, (void)port;
	return -ENOENT;
}

static struct virtio_device *make(unsigned kind)
{
	static const struct virtio_net_link link = {.up = up, .down = down, .transmit = transmit, .destroy = down};
	static const struct vsock_ports_ops ports = {no_port, no_port};
	struct virtio_device *dev = NULL;
	int pair[2];
	switch (kind) {
	case RNG:
		require(virtio_rng__new(&dev) == 0);
		break;
	case BALLOON:
		require(virtio_balloon__new(&dev) == 0);
		break;
	case CONSOLE:
		require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
		close(pair[1]);
		require(virtio_console__new(pair[0], &dev) == 0);
		break;
	case DISK: {
		struct blk_options options = {.fd = memfd_create("d", MFD_CLOEXEC), .sectors = 8, .id = "d"};
		require(options.fd >= 0 && ftruncate(options.fd, 8 * BLK_SECTOR) == 0);
		require(virtio_blk__new(&options, &dev) == 0);
		break;
	}
	case CARD: {
		struct virtio_net_options options = {.mac = {2}, .mtu = 1500, .link = &link};
		require(virtio_net__new(&options, &dev) == 0);
		break;
	}
	default: {
		struct vsock_options options = {
			.guest_cid = 3, .dir_fd = open("/", O_PATH | O_CLOEXEC), .ports = &ports};
		require(virtio_vsock__new(&options, &dev) == 0);
	}
	}
	return dev;
}

static void put(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	virtio_mmio__write(mmio, offset, &value, sizeof(value));
}

/* What a device at work has saved: the rings of queue i are in page 3i. */
static void save(unsigned kind, struct loop *loop, const struct guest_memory *mem, struct buffer *to)
{
	struct virtio_device *dev = make(kind);
	struct virtio_mmio *mmio;
	dev->loop = loop;
	require(virtio_mmio__new(dev, loop, mem, &mmio) == 0);
	put(mmio, 0x70, 3);
	put(mmio, 0x20, (uint32_t)dev->ops->features);
	put(mmio, 0x24, 1);
	put(mmio, 0x20, 1);
	put(mmio, 0x70, 11);
	for (uint32_t i = 0; i < dev->ops->num_queues; i++) {
		put(mmio, 0x30, i);
		put(mmio, 0x38, 16);
		put(mmio, 0x80, i * 0x3000);
		put(mmio, 0x90, i * 0x3000 + 0x1000);
		put(mmio, 0xa0, i * 0x3000 + 0x2000);
		put(mmio, 0x44, 1);
	}
	put(mmio, 0x70, 15);
	struct writer out = writer__begin(to);
	writer__open(&out, NULL);
	struct failure why;
	require(virtio_mmio__save(mmio, &out, &why) == 0);
	writer__close(&out);
	require(writer__end(&out) == 0);
	virtio_mmio__free(mmio);
	dev->ops->destroy(dev);
}

static void load(unsigned kind, struct loop *loop, const struct guest_memory *mem, const uint8_t *bytes, size_t len)
{
	struct virtio_device *dev = make(kind);
	struct virtio_mmio *mmio;
	struct failure why = {.message = ""};
	dev->loop = loop;
	require(virtio_mmio__new(dev, loop, mem, &mmio) == 0);
	int err = virtio_mmio__load(mmio, bytes, len, &why);
	uint32_t status;
	virtio_mmio__read(mmio, 0x70, &status, sizeof(status));
	require(err <= 0 && (err == 0 || (why.message[0] && status == 0)));
	for (unsigned i = 0; !err && i < dev->ops->num_queues; i++)
		dev->ops->queue_ready(dev, i);
	for (unsigned i = 0; i < 4; i++)
		require(loop__step(loop, false) == 0);
	virtio_mmio__free(mmio);
	dev->ops->destroy(dev);
}

/* The first byte says which device and how. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t ram[RAM] __attribute__((aligned(4096)));
	const struct guest_memory mem = {.count = 1, .regions = {{.gpa = 0, .size = RAM, .host = ram}}};
	struct input in = {data, len};
	const uint8_t how = next8(&in);
	struct loop *loop;
	require(loop__new(&loop) == 0);
	memset(ram, 0, sizeof(ram));
	if (how & 0x80) {
		struct buffer saved = {.data = NULL};
		save((how & 0x7f) % KINDS, loop, &mem, &saved);
		size_t room = buffer__pending(&saved);
		for (unsigned changes = next8(&in) % 8; changes; changes--) {
			size_t at = (next8(&in) | (size_t)next8(&in) << 8) % room;
			saved.data[saved.start + at] = next8(&in);
		}
		for (size_t at = 0; in.len && at < RAM; at += 0x800)
			for (unsigned i = 0; i < 32 && in.len; i++)
				ram[at + i] = next8(&in);
		load((how & 0x7f) % KINDS, loop, &mem, buffer__head(&saved), room);
		buffer__free(&saved);
	} else {
		load(how % KINDS, loop, &mem, in.data, in.len);
	}
	loop__free(loop);
	return 0;
}
