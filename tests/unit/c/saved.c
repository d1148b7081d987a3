/* Devices are saved in the middle of work, and others go on with it. */
#include "saved.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"
#include "virtio/vsock/stream.h"

static struct saved_rig rig;
static struct virtio_device *dev;
static struct buffer saved;
static struct failure why;

static void half_of_a_full_ring_is_left_to_another_device(void)
{
	uint32_t len;
	CHECK_EQ(virtio_rng__new(&dev), 0);
	saved__start(&rig, dev, 1);
	for (unsigned i = 0; i < SAVED_QUEUE; i++)
		CHECK(driver_queue__add(&rig.queues[0], &(struct driver_buf){driver__alloc(&rig.memory, 8), 8}, 0, 1) >=
		      0);
	dev->ops->queue_ready(dev, 0); /* one turn of it */
	saved__save(&rig, dev, &saved);
	const uint16_t done = rig.queues[0].used[1];
	CHECK(done > 0 && done < SAVED_QUEUE);
	CHECK_EQ(virtio_rng__new(&dev), 0);
	CHECK_EQ(saved__load(&rig, dev, &saved, &why), 0);
	for (unsigned i = 0; i < SAVED_QUEUE; i++) {
		saved__used(&rig, 0, &len);
		CHECK_EQ(len, 8);
	}
	CHECK_EQ(driver_queue__used(&rig.queues[0], &len), -1);
	saved__end(&rig, dev, 1);
}

static void the_balloon_is_as_large_as_it_was(void)
{
	const uint32_t given = 7;
	uint32_t config[2];
	CHECK_EQ(virtio_balloon__new(&dev), 0);
	saved__start(&rig, dev, 3);
	virtio_balloon__ask(dev, 11);
	dev->ops->write_config(dev, 4, &given, sizeof(given));
	saved__save(&rig, dev, &saved);
	CHECK_EQ(virtio_balloon__new(&dev), 0);
	CHECK_EQ(saved__load(&rig, dev, &saved, &why), 0);
	virtio_mmio__read(rig.mmio, 0x100, &config[0], 4);
	virtio_mmio__read(rig.mmio, 0x104, &config[1], 4);
	CHECK(config[0] == 11 && config[1] == 7);
	uint32_t interrupts = 0;
	virtio_mmio__read(rig.mmio, 0x060, &interrupts, 4); /* that it was asked the guest has not seen yet */
	CHECK_EQ(interrupts & 2, 2);
	saved__end(&rig, dev, 3);
}

static int console(int *host)
{
	int pair[2];
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	*host = pair[1];
	return virtio_console__new(pair[0], &dev);
}

static void words_that_no_reader_took_are_told_to_the_next(void)
{
	static uint8_t got[2 << 20];
	int host, other;
	CHECK_EQ(console(&host), 0);
	saved__start(&rig, dev, 2);
	const int full = 4096;
	CHECK_EQ(setsockopt(host, SOL_SOCKET, SO_RCVBUF, &full, sizeof(full)), 0);
	struct driver_buf buf = {driver__alloc(&rig.memory, 1 << 20), 1 << 20};
	memset(driver__at(&rig.memory, buf.gpa), 'x', buf.len);
	CHECK(driver_queue__add(&rig.queues[1], &buf, 1, 0) >= 0); /* more than a socket takes */
	dev->ops->queue_ready(dev, 1);
	buf = (struct driver_buf){driver__alloc(&rig.memory, 4), 4};
	memcpy(driver__at(&rig.memory, buf.gpa), "last", 4);
	CHECK(driver_queue__add(&rig.queues[1], &buf, 1, 0) >= 0);
	dev->ops->queue_ready(dev, 1);
	struct driver_buf in = {driver__alloc(&rig.memory, 16), 16};
	CHECK(driver_queue__add(&rig.queues[0], &in, 0, 1) >= 0); /* waits for input */
	saved__save(&rig, dev, &saved);
	close(host);
	CHECK_EQ(console(&other), 0);
	CHECK_EQ(saved__load(&rig, dev, &saved, &why), 0);
	CHECK_EQ(write(other, "typed", 5), 5);
	uint32_t len;
	saved__used(&rig, 0, &len);
	CHECK_EQ(len, 5);
	CHECK(memcmp(driver__at(&rig.memory, in.gpa), "typed", 5) == 0);
	size_t had = 0;
	while (had < (64 << 10)) {
		ssize_t n = recv(other, got + had, sizeof(got) - had, MSG_DONTWAIT);
		had += n > 0 ? (size_t)n : 0;
		CHECK_EQ(loop__step(rig.loop, false), 0);
	}
	CHECK_EQ(had, 64 << 10); /* the most that it keeps */
	CHECK(memcmp(got + had - 5, "xlast", 5) == 0);
	saved__end(&rig, dev, 2);
	close(other);
}

static int disk(uint64_t sectors)
{
	struct blk_options options = {.fd = memfd_create("disk", MFD_CLOEXEC), .sectors = sectors, .id = "disk0"};
	CHECK(options.fd >= 0 && ftruncate(options.fd, (off_t)sectors * BLK_SECTOR) == 0);
	return virtio_blk__new(&options, &dev);
}

static void requests_that_wait_are_carried_out_by_another_disk(void)
{
	uint32_t len;
	CHECK_EQ(disk(64), 0);
	saved__start(&rig, dev, 1);
	for (unsigned i = 0; i < 40; i++) {
		const struct driver_buf bufs[] = {{driver__alloc(&rig.memory, 16), 16},
						  {driver__alloc(&rig.memory, BLK_SECTOR), BLK_SECTOR},
						  {driver__alloc(&rig.memory, 1), 1}};
		memset(driver__at(&rig.memory, bufs[0].gpa), 0, 16); /* read sector 0 */
		CHECK(driver_queue__add(&rig.queues[0], bufs, 1, 2) >= 0);
	}
	dev->ops->queue_ready(dev, 0);
	saved__save(&rig, dev, &saved);
	CHECK(rig.queues[0].used[1] > 0 && rig.queues[0].used[1] < 40);
	CHECK_EQ(disk(64), 0);
	CHECK_EQ(saved__load(&rig, dev, &saved, &why), 0);
	for (unsigned i = 0; i < 40; i++) {
		saved__used(&rig, 0, &len);
		CHECK_EQ(len, BLK_SECTOR + 1);
	}
	saved__save(&rig, dev, &saved);
	CHECK_EQ(disk(65), 0);
	CHECK_EQ(saved__load(&rig, dev, &saved, &why), -ESTALE);
	saved__end(&rig, dev, 1);
}

static int up(void *arg)
{
	++*(unsigned *)arg;
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

static int card(uint8_t last, unsigned *ups)
{
	static const struct virtio_net_link link = {.up = up, .down = down, .transmit = transmit, .destroy = down};
	struct virtio_net_options options = {.mac = {2, 0, 0, 0, 0, last}, .mtu = 1500, .link = &link, .arg = ups};
	return virtio_net__new(&options, &dev);
}

static void frames_for_the_guest_are_lost_and_its_buffers_are_not(void)
{
	static const uint8_t frame[60];
	unsigned ups = 0;
	uint32_t len;
	CHECK_EQ(card(1, &ups), 0);
	saved__start(&rig, dev, 2);
	virtio_net__receive(dev, frame, sizeof(frame)); /* there is no buffer for it */
	saved__save(&rig, dev, &saved);
	CHECK_EQ(card(1, &ups), 0);
	CHECK_EQ(saved__load(&rig, dev, &saved, &why), 0);
	CHECK_EQ(ups, 2);
	struct driver_buf buf = {driver__alloc(&rig.memory, 2048), 2048};
	CHECK(driver_queue__add(&rig.queues[0], &buf, 0, 1) >= 0);
	dev->ops->queue_ready(dev, 0);
	CHECK_EQ(driver_queue__used(&rig.queues[0], &len), -1);
	virtio_net__receive(dev, frame, sizeof(frame));
	CHECK(driver_queue__used(&rig.queues[0], &len) >= 0);
	CHECK_EQ(len, 12 + sizeof(frame));
	saved__save(&rig, dev, &saved);
	CHECK_EQ(card(2, &ups), 0);
	CHECK_EQ(saved__load(&rig, dev, &saved, &why), -EINVAL);
	CHECK_EQ(ups, 3); /* and goes down again */
	saved__end(&rig, dev, 2);
}

static int connect_port(void *owner, uint32_t port)
{
	int pair[2];
	(void)port;
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	*(int *)owner = pair[1];
	return pair[0];
}

static int vsock(int *host)
{
	static const struct vsock_ports_ops ports = {.connect = connect_port};
	struct vsock_options options = {.guest_cid = 3, .ports = &ports, .ports_owner = host};
	options.dir_fd = open("/", O_PATH | O_CLOEXEC);
	return virtio_vsock__new(&options, &dev);
}

static void streams_are_reset(void)
{
	int host = -1, other = -1;
	uint32_t len;
	CHECK_EQ(vsock(&host), 0);
	saved__start(&rig, dev, 3);
	struct driver_buf buf = {driver__alloc(&rig.memory, sizeof(struct vsock_hdr)), sizeof(struct vsock_hdr)};
	*(struct vsock_hdr *)driver__at(&rig.memory, buf.gpa) = (struct vsock_hdr){.src_cid = 3,
										   .dst_cid = VSOCK_HOST_CID,
										   .src_port = 1234,
										   .dst_port = 52,
										   .type = VSOCK_TYPE_STREAM,
										   .op = VSOCK_OP_REQUEST};
	CHECK(driver_queue__add(&rig.queues[VSOCK_TX], &buf, 1, 0) >= 0);
	dev->ops->queue_ready(dev, VSOCK_TX);
	CHECK(host >= 0);
	saved__save(&rig, dev, &saved);
	CHECK_EQ(vsock(&other), 0);
	CHECK_EQ(saved__load(&rig, dev, &saved, &why), 0);
	struct driver_buf in = {driver__alloc(&rig.memory, 4096), 4096};
	CHECK(driver_queue__add(&rig.queues[VSOCK_RX], &in, 0, 1) >= 0);
	dev->ops->queue_ready(dev, VSOCK_RX);
	CHECK(driver_queue__used(&rig.queues[VSOCK_RX], &len) >= 0);
	const struct vsock_hdr *hdr = driver__at(&rig.memory, in.gpa);
	CHECK(hdr->op == VSOCK_OP_RST && hdr->dst_port == 1234 && hdr->src_port == 52);
	close(host);
	saved__end(&rig, dev, 3);
}

/* Each byte of what was saved, changed: it is refused, or taken and does no harm. */
static void what_was_saved_is_not_believed(void)
{
	CHECK_EQ(disk(64), 0);
	saved__start(&rig, dev, 1);
	saved__write(&rig, &saved);
	for (size_t i = 0; i < buffer__pending(&saved); i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct buffer other = {.data = NULL};
			uint8_t *bytes = buffer__reserve(&other, buffer__pending(&saved));
			memcpy(bytes, buffer__head(&saved), buffer__pending(&saved));
			bytes[i] ^= (uint8_t)(1 << bit);
			buffer__commit(&other, buffer__pending(&saved));
			struct saved_rig second = {.memory = rig.memory};
			struct virtio_device *first = dev;
			CHECK_EQ(disk(64), 0);
			(void)saved__load(&second, dev, &other, &why);
			dev->ops->queue_ready(dev, 0);
			saved__detach(&second, dev);
			dev = first;
		}
	}
	buffer__free(&saved);
	saved__end(&rig, dev, 1);
}

static void another_kind_of_device_is_refused(void)
{
	CHECK_EQ(virtio_rng__new(&dev), 0);
	saved__start(&rig, dev, 1);
	saved__save(&rig, dev, &saved);
	CHECK_EQ(disk(64), 0);
	CHECK_EQ(saved__load(&rig, dev, &saved, &why), -EINVAL);
	CHECK(strstr(why.message, "blk"));
	saved__end(&rig, dev, 1);
}

int main(void)
{
	CASE(half_of_a_full_ring_is_left_to_another_device);
	CASE(the_balloon_is_as_large_as_it_was);
	CASE(words_that_no_reader_took_are_told_to_the_next);
	CASE(requests_that_wait_are_carried_out_by_another_disk);
	CASE(frames_for_the_guest_are_lost_and_its_buffers_are_not);
	CASE(streams_are_reset);
	CASE(what_was_saved_is_not_believed);
	CASE(another_kind_of_device_is_refused);
	return check__done();
}
