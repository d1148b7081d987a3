/* virtio-net: frames go both ways as they are; whatever else a driver offers is borne with. */
#include "virtio/net.h"

#include <errno.h>

#include "common/checksum.h"
#include "driver.h"

#define HDR 12
#define MTU 1500
#define BIG (VIRTIO_NET_ETHERNET + MTU)
#define MERGE (1U << 15)
#define CSUM (1U << 0)
#define GUEST_CSUM (1U << 1)

static struct driver d;
static struct driver_queue rx, tx;
static struct driver_device dd;
static struct virtio_device *net;

/* The link */
static uint8_t got[BIG];
static size_t got_len;
static unsigned frames, ups, downs, destroyed;

static int link_up(void *arg)
{
	CHECK(arg == &frames);
	ups++;
	return 0;
}

static void link_down(void *arg)
{
	(void)arg;
	downs++;
}

static void link_transmit(void *arg, const uint8_t *frame, size_t len)
{
	(void)arg;
	CHECK(len >= VIRTIO_NET_ETHERNET && len <= sizeof(got));
	memcpy(got, frame, len);
	got_len = len;
	frames++;
}

/* Milliseconds that each frame waits, as many times as `waits`. */
static unsigned waits;

static uint64_t link_wait(void *arg)
{
	(void)arg;
	return waits && waits-- ? 1 : 0;
}

static void link_destroy(void *arg)
{
	(void)arg;
	destroyed++;
}

static const struct virtio_net_link the_link = {
	.up = link_up, .down = link_down, .transmit = link_transmit, .wait = link_wait, .destroy = link_destroy};

static void set_up(uint64_t features)
{
	struct virtio_net_options options = {.mac = {2, 1, 2, 3, 4, 5}, .mtu = MTU, .link = &the_link, .arg = &frames};
	got_len = 0;
	frames = ups = downs = destroyed = 0;
	driver__init(&d, 1 << 20);
	CHECK_EQ(virtio_net__new(&options, &net), 0);
	CHECK_EQ(net->ops->id, VIRTIO_ID_NET);
	CHECK((net->ops->features & features) == features);
	net->driver_features = features;
	driver_device__start(&dd, net);
	driver_queue__init(&rx, &d, &net->queues[0], 16, DRIVER_EVENT_IDX);
	driver_queue__init(&tx, &d, &net->queues[1], 16, DRIVER_INDIRECT);
	driver_device__activate(&dd);
}

static void tear_down(void)
{
	driver_device__stop(&dd);
	CHECK_EQ(destroyed, 1);
	driver_queue__free(&rx);
	driver_queue__free(&tx);
	driver__free(&d);
}

struct receive_call {
	const uint8_t *frame;
	size_t len;
};

static void do_receive(void *arg)
{
	const struct receive_call *call = arg;
	virtio_net__receive(net, call->frame, call->len);
	virtio_net__flush(net);
}

static void receive(const uint8_t *frame, size_t len)
{
	struct receive_call call = {frame, len};
	CHECK_EQ(loop__call(dd.loop, do_receive, &call), 0);
}

/* Send what is at `gpa`, header included; the device gives it back with nothing written. */
static void send(uint64_t gpa, uint32_t len)
{
	struct driver_buf bufs[] = {{gpa, 12}, {gpa + 12, len - 12}};
	uint32_t written = 99;
	CHECK(driver_queue__add(&tx, len > 12 ? bufs : &(struct driver_buf){gpa, len}, len > 12 ? 2 : 1, 0) >= 0);
	driver_device__kick(&dd, 1);
	CHECK(driver_queue__wait(&tx, &written, 5000) >= 0);
	CHECK_EQ(written, 0);
}

static void its_configuration_says_who_it_is(void)
{
	uint8_t config[12];
	set_up(MERGE);
	CHECK_EQ(net->ops->config_size, sizeof(config));
	net->ops->read_config(net, 0, config, sizeof(config));
	CHECK(memcmp(config, "\2\1\2\3\4\5", 6) == 0);
	CHECK_EQ(config[6], 1); /* the link is up */
	CHECK_EQ(config[10] | config[11] << 8, MTU);
	tear_down();
	struct virtio_net_options options = {.mtu = 67, .link = &the_link};
	CHECK_EQ(virtio_net__new(&options, &net), -EINVAL);
	options.mtu = VIRTIO_NET_MTU_MAX + 1;
	CHECK_EQ(virtio_net__new(&options, &net), -EINVAL);
}

static void a_frame_goes_out_as_it_is(void)
{
	set_up(MERGE);
	uint64_t gpa = driver__alloc(&d, HDR + BIG);
	uint8_t *bytes = driver__at(&d, gpa);
	memset(bytes, 0, HDR);
	for (unsigned i = 0; i < BIG; i++)
		bytes[HDR + i] = (uint8_t)(i * 7);
	send(gpa, HDR + 60);
	CHECK_EQ(frames, 1);
	CHECK_EQ(got_len, 60);
	CHECK(memcmp(got, bytes + HDR, 60) == 0);
	send(gpa, HDR + BIG);
	CHECK_EQ(frames, 2);
	CHECK(got_len == BIG && memcmp(got, bytes + HDR, BIG) == 0);
	tear_down();
	CHECK_EQ(ups, 1);
	CHECK_EQ(downs, 1);
}

static void a_frame_waits_in_its_queue_until_it_may_go(void)
{
	set_up(0);
	uint64_t gpa = driver__alloc(&d, HDR + 60);
	waits = 3;
	for (unsigned i = 0; i < 5; i++)
		send(gpa, HDR + 60);
	CHECK_EQ(frames, 5);
	CHECK_EQ(waits, 0);
	/* a reset does not wait */
	waits = 1U << 30;
	struct driver_buf buf = {gpa, HDR + 60};
	CHECK(driver_queue__add(&tx, &buf, 1, 0) >= 0);
	driver_device__kick(&dd, 1);
	tear_down();
	waits = 0;
	CHECK_EQ(frames, 5);
}

static void frames_of_wrong_sizes_are_dropped(void)
{
	set_up(MERGE);
	uint64_t gpa = driver__alloc(&d, HDR + BIG + 1);
	memset(driver__at(&d, gpa), 0, HDR + BIG + 1);
	send(gpa, HDR + BIG + 1);
	send(gpa, HDR + 13);
	send(gpa, HDR);
	send(gpa, 1);
	CHECK_EQ(frames, 0);
	send(gpa, HDR + 14);
	CHECK_EQ(frames, 1);
	tear_down();
}

static void what_was_not_negotiated_is_dropped(void)
{
	set_up(MERGE);
	uint64_t gpa = driver__alloc(&d, HDR + 60);
	uint8_t *hdr = driver__at(&d, gpa);
	memset(hdr, 0, HDR + 60);
	hdr[0] = 1; /* a checksum is to be completed */
	send(gpa, HDR + 60);
	hdr[0] = 0;
	hdr[1] = 1; /* segmentation */
	send(gpa, HDR + 60);
	CHECK_EQ(frames, 0);
	tear_down();
}

static void checksums_are_completed(void)
{
	set_up(MERGE | CSUM);
	uint64_t gpa = driver__alloc(&d, HDR + 61);
	uint8_t *bytes = driver__at(&d, gpa);
	for (unsigned i = 0; i < 61; i++)
		bytes[HDR + i] = (uint8_t)(i * 31);
	memset(bytes, 0, HDR);
	bytes[0] = 1;
	bytes[6] = 34;          /* csum_start */
	bytes[8] = 6;           /* csum_offset */
	bytes[HDR + 40] = 0x12; /* the pseudo header's sum */
	bytes[HDR + 41] = 0x34;
	send(gpa, HDR + 61);
	CHECK_EQ(frames, 1);
	/* all of it with the checksum sums up to the pseudo header's: the receiver adds that itself */
	uint16_t sum = (uint16_t)~checksum__end(checksum__add(0, got + 34, 27)), pseudo;
	memcpy(&pseudo, "\x12\x34", 2);
	CHECK_EQ((uint16_t)~sum, pseudo);
	/* at the end, and past it */
	bytes[6] = 59;
	bytes[8] = 0;
	send(gpa, HDR + 61);
	CHECK_EQ(frames, 2);
	bytes[6] = 60;
	send(gpa, HDR + 61);
	bytes[6] = bytes[7] = bytes[8] = bytes[9] = 0xff;
	send(gpa, HDR + 61);
	CHECK_EQ(frames, 2);
	tear_down();
}

static void a_frame_comes_in(void)
{
	uint8_t frame[100];
	uint32_t len;
	memset(frame, 0xaa, sizeof(frame));
	set_up(MERGE | GUEST_CSUM);
	struct driver_buf buf = {driver__alloc(&d, 2048), 2048};
	CHECK(driver_queue__add(&rx, &buf, 0, 1) >= 0);
	receive(frame, sizeof(frame));
	CHECK(driver_queue__wait(&rx, &len, 5000) >= 0);
	CHECK_EQ(len, HDR + sizeof(frame));
	const uint8_t *bytes = driver__at(&d, buf.gpa);
	CHECK_EQ(bytes[0], 2);  /* its checksum is right */
	CHECK_EQ(bytes[10], 1); /* in one buffer */
	CHECK(memcmp(bytes + HDR, frame, sizeof(frame)) == 0);
	tear_down();
}

static void a_large_frame_takes_several_buffers(void)
{
	uint8_t frame[BIG];
	uint32_t len, total = 0;
	for (unsigned i = 0; i < BIG; i++)
		frame[i] = (uint8_t)i;
	set_up(MERGE);
	/* a header in pieces, too */
	struct driver_buf first[] = {{driver__alloc(&d, 5), 5}, {driver__alloc(&d, 507), 507}}, rest[3];
	CHECK(driver_queue__add(&rx, first, 0, 2) >= 0);
	for (unsigned i = 0; i < 3; i++) {
		rest[i] = (struct driver_buf){driver__alloc(&d, 512), 512};
		CHECK(driver_queue__add(&rx, &rest[i], 0, 1) >= 0);
	}
	receive(frame, BIG);
	for (unsigned i = 0; i < 3; i++) {
		CHECK(driver_queue__wait(&rx, &len, 5000) >= 0);
		total += len;
	}
	CHECK_EQ(total, HDR + BIG);
	CHECK_EQ(driver_queue__used(&rx, &len), -1);
	const uint8_t *tail = driver__at(&d, first[1].gpa);
	CHECK_EQ(tail[10 - 5], 3); /* num_buffers */
	CHECK(memcmp(tail + 7, frame, 500) == 0);
	CHECK(memcmp(driver__at(&d, rest[0].gpa), frame + 500, 512) == 0);
	CHECK(memcmp(driver__at(&d, rest[1].gpa), frame + 1012, BIG - 1012) == 0);
	tear_down();
}

static void frames_wait_for_buffers_in_order(void)
{
	uint8_t frame[600];
	uint32_t len;
	set_up(MERGE);
	for (unsigned i = 0; i < 3; i++) {
		memset(frame, (int)i, sizeof(frame));
		receive(frame, sizeof(frame));
	}
	/* too little for the first, which then waits on */
	struct driver_buf buf = {driver__alloc(&d, 2048), 512};
	CHECK(driver_queue__add(&rx, &buf, 0, 1) >= 0);
	driver_device__kick(&dd, 0);
	CHECK_EQ(driver_queue__used(&rx, &len), -1);
	for (unsigned i = 0; i < 3; i++) {
		struct driver_buf more = {driver__alloc(&d, 1024), 1024};
		CHECK(driver_queue__add(&rx, &more, 0, 1) >= 0);
	}
	driver_device__kick(&dd, 0);
	for (unsigned i = 0; i < 4; i++)
		CHECK(driver_queue__wait(&rx, &len, 5000) >= 0);
	const uint8_t *bytes = driver__at(&d, buf.gpa);
	CHECK_EQ(bytes[HDR], 0);
	CHECK_EQ(len, HDR + 600);
	tear_down();
}

static void what_waits_is_bounded_and_goes_at_a_reset(void)
{
	uint8_t frame[BIG] = {0};
	uint32_t len;
	set_up(MERGE);
	for (unsigned i = 0; i < 4000; i++) /* 6 MB */
		receive(frame, BIG);
	driver_device__reset(&dd);
	CHECK_EQ(downs, 1);
	receive(frame, BIG); /* nobody is there */
	driver_queue__free(&rx);
	driver_queue__free(&tx);
	driver_queue__init(&rx, &d, &net->queues[0], 16, 0);
	driver_queue__init(&tx, &d, &net->queues[1], 16, 0);
	driver_device__activate(&dd);
	struct driver_buf buf = {driver__alloc(&d, 2048), 2048};
	CHECK(driver_queue__add(&rx, &buf, 0, 1) >= 0);
	driver_device__kick(&dd, 0);
	CHECK_EQ(driver_queue__used(&rx, &len), -1);
	tear_down();
	CHECK_EQ(ups, 2);
}

static void buffers_too_small_for_a_header_are_given_back(void)
{
	uint8_t frame[60] = {0};
	uint32_t len = 99;
	set_up(MERGE);
	struct driver_buf bufs[] = {{driver__alloc(&d, 12), 12}, {driver__alloc(&d, 100), 100}};
	CHECK(driver_queue__add(&rx, &bufs[0], 0, 1) >= 0);
	CHECK(driver_queue__add(&rx, &bufs[1], 1, 0) >= 0); /* not writable at all */
	CHECK(driver_queue__add(&rx, &bufs[1], 0, 1) >= 0);
	receive(frame, sizeof(frame));
	CHECK(driver_queue__wait(&rx, &len, 5000) >= 0);
	CHECK_EQ(len, 0);
	CHECK(driver_queue__wait(&rx, &len, 5000) >= 0);
	CHECK_EQ(len, 0);
	CHECK(driver_queue__wait(&rx, &len, 5000) >= 0);
	CHECK_EQ(len, HDR + 60);
	tear_down();
}

static void a_driver_that_does_not_merge_loses_what_is_too_large(void)
{
	uint8_t frame[600] = {0};
	uint32_t len;
	set_up(0);
	struct driver_buf buf = {driver__alloc(&d, 512), 512};
	CHECK(driver_queue__add(&rx, &buf, 0, 1) >= 0);
	receive(frame, 600);
	CHECK_EQ(driver_queue__used(&rx, &len), -1);
	receive(frame, 500);
	CHECK(driver_queue__wait(&rx, &len, 5000) >= 0);
	CHECK_EQ(len, 512);
	tear_down();
}

int main(void)
{
	CASE(its_configuration_says_who_it_is);
	CASE(a_frame_goes_out_as_it_is);
	CASE(a_frame_waits_in_its_queue_until_it_may_go);
	CASE(frames_of_wrong_sizes_are_dropped);
	CASE(what_was_not_negotiated_is_dropped);
	CASE(checksums_are_completed);
	CASE(a_frame_comes_in);
	CASE(a_large_frame_takes_several_buffers);
	CASE(frames_wait_for_buffers_in_order);
	CASE(what_waits_is_bounded_and_goes_at_a_reset);
	CASE(buffers_too_small_for_a_header_are_given_back);
	CASE(a_driver_that_does_not_merge_loses_what_is_too_large);
	return check__done();
}
