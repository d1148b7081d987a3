/* virtio-mmio transport: a driver's way through the registers, and what a hostile guest writes into them. */
#include "virtio/mmio.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "check.h"

enum { DESC = 0x1000, AVAIL = 0x2000, USED = 0x3000, BUFFER = 0x4000, MEMORY = 0x10000 };

/* A device that gives every chain back with its length plus one, and remembers how it was called. */
struct echo {
	struct virtio_device dev;
	int activated, resets, kicks, fail_with;
	uint8_t config[8];
};

static int echo__activate(struct virtio_device *dev)
{
	struct echo *echo = (struct echo *)dev;
	echo->activated++;
	return echo->fail_with;
}

static void echo__queue_ready(struct virtio_device *dev, unsigned index)
{
	struct echo *echo = (struct echo *)dev;
	struct virtqueue_chain chain;
	__atomic_add_fetch(&echo->kicks, 1, __ATOMIC_SEQ_CST);
	while (virtqueue__pop(&dev->queues[index], &chain) == 1)
		virtqueue__push(&dev->queues[index], chain.head, (uint32_t)chain.readable_bytes + 1);
	virtqueue__notify(&dev->queues[index]);
}

static void echo__reset(struct virtio_device *dev)
{
	((struct echo *)dev)->resets++;
}

static void echo__read_config(struct virtio_device *dev, size_t offset, void *to, size_t len)
{
	memcpy(to, ((struct echo *)dev)->config + offset, len);
}

static void echo__write_config(struct virtio_device *dev, size_t offset, const void *from, size_t len)
{
	memcpy(((struct echo *)dev)->config + offset, from, len);
}

static const struct virtio_device_ops echo_ops = {
	.name = "echo",
	.id = VIRTIO_ID_RNG,
	.num_queues = 2,
	.features = 1 << 3,
	.config_size = 8,
	.read_config = echo__read_config,
	.write_config = echo__write_config,
	.activate = echo__activate,
	.queue_ready = echo__queue_ready,
	.reset = echo__reset,
};

static struct {
	struct echo echo;
	struct guest_memory mem;
	struct loop *loop;
	pthread_t thread;
	struct virtio_mmio *mmio;
} rig;

static void *run_loop(void *loop)
{
	loop__run(loop);
	return NULL;
}

static void set_up(void)
{
	memset(&rig, 0, sizeof(rig));
	rig.echo.dev.ops = &echo_ops;
	rig.mem = (struct guest_memory){.count = 1,
					.regions = {{.gpa = 0, .size = MEMORY, .host = aligned_alloc(4096, MEMORY)}}};
	memset(rig.mem.regions[0].host, 0, MEMORY);
	CHECK_EQ(loop__new(&rig.loop), 0);
	rig.echo.dev.loop = rig.loop;
	CHECK_EQ(pthread_create(&rig.thread, NULL, run_loop, rig.loop), 0);
	CHECK_EQ(virtio_mmio__new(&rig.echo.dev, rig.loop, &rig.mem, &rig.mmio), 0);
}

static void tear_down(void)
{
	virtio_mmio__free(rig.mmio);
	loop__stop(rig.loop);
	pthread_join(rig.thread, NULL);
	loop__free(rig.loop);
	free(rig.mem.regions[0].host);
}

static uint32_t get(uint64_t offset)
{
	uint32_t value = 0xdeadbeef;
	virtio_mmio__read(rig.mmio, offset, &value, 4);
	return value;
}

static void put(uint64_t offset, uint32_t value)
{
	virtio_mmio__write(rig.mmio, offset, &value, 4);
}

static void negotiate(uint64_t features)
{
	put(0x070, 0);
	put(0x070, 1);
	put(0x070, 3);
	put(0x024, 0);
	put(0x020, (uint32_t)features);
	put(0x024, 1);
	put(0x020, (uint32_t)(features >> 32));
	put(0x070, 11);
}

static void set_queue(uint32_t index, uint32_t size, uint64_t desc)
{
	put(0x030, index);
	put(0x038, size);
	put(0x080, (uint32_t)desc);
	put(0x084, (uint32_t)(desc >> 32));
	put(0x090, AVAIL);
	put(0x094, 0);
	put(0x0a0, USED);
	put(0x0a4, 0);
	put(0x044, 1);
}

static void offer_buffer(uint32_t len)
{
	uint8_t *m = rig.mem.regions[0].host;
	memcpy(m + DESC, &(uint64_t){BUFFER}, 8);
	memcpy(m + DESC + 8, &len, 4);
	memset(m + DESC + 12, 0, 4);
	uint16_t idx;
	memcpy(&idx, m + AVAIL + 2, 2);
	memset(m + AVAIL + 4 + (idx % 8) * 2, 0, 2);
	idx++;
	memcpy(m + AVAIL + 2, &idx, 2);
}

static void wait_for_interrupt(void)
{
	struct pollfd irq = {.fd = virtio_mmio__irq_fd(rig.mmio), .events = POLLIN};
	CHECK_EQ(poll(&irq, 1, 10000), 1);
	uint64_t count;
	CHECK_EQ(read(irq.fd, &count, 8), 8);
}

static void a_driver_finds_and_drives_the_device(void)
{
	set_up();
	CHECK_EQ(get(0x000), 0x74726976);
	CHECK_EQ(get(0x004), 2);
	CHECK_EQ(get(0x008), VIRTIO_ID_RNG);
	put(0x014, 0);
	CHECK_EQ(get(0x010), 1 << 3 | 1 << 28 | 1 << 29);
	put(0x014, 1);
	CHECK_EQ(get(0x010), 1);
	CHECK_EQ(get(0x0b0), 0xffffffff);
	negotiate(VIRTIO_F_VERSION_1 | 1 << 3);
	CHECK_EQ(get(0x070), 11);
	CHECK_EQ(get(0x034), 256);
	set_queue(0, 8, DESC);
	CHECK_EQ(get(0x044), 1);
	offer_buffer(41);
	put(0x070, 15);
	CHECK_EQ(get(0x070), 15);
	CHECK_EQ(rig.echo.activated, 1);
	CHECK_EQ(rig.echo.dev.driver_features, VIRTIO_F_VERSION_1 | 1 << 3);
	wait_for_interrupt();
	CHECK_EQ(get(0x060), 1);
	uint32_t used[2];
	memcpy(used, rig.mem.regions[0].host + USED + 4, 8);
	CHECK_EQ(used[1], 42);
	put(0x064, 1);
	CHECK_EQ(get(0x060), 0);
	offer_buffer(9);
	put(0x050, 0);
	wait_for_interrupt();
	memcpy(used, rig.mem.regions[0].host + USED + 12, 8);
	CHECK_EQ(used[1], 10);
	put(0x070, 0);
	CHECK_EQ(rig.echo.resets, 1);
	CHECK_EQ(get(0x070), 0);
	CHECK_EQ(get(0x060), 0);
	tear_down();
}

static void configuration_space_is_bounded(void)
{
	set_up();
	put(0x100, 0x11223344);
	put(0x104, 0x55667788);
	CHECK_EQ(get(0x104), 0x55667788);
	uint16_t two;
	virtio_mmio__read(rig.mmio, 0x102, &two, 2);
	CHECK_EQ(two, 0x1122);
	CHECK_EQ(get(0x105), 0);
	CHECK_EQ(get(0x108), 0);
	CHECK_EQ(get(0xffc), 0);
	put(0x105, 1);
	tear_down();
}

static void a_configuration_change_interrupts_and_counts(void)
{
	set_up();
	uint32_t before = get(0x0fc);
	rig.echo.dev.config_changed(&rig.echo.dev);
	wait_for_interrupt();
	CHECK_EQ(get(0x060), 2);
	CHECK_EQ(get(0x0fc), before + 1);
	tear_down();
}

static void features_not_offered_are_not_accepted(void)
{
	set_up();
	negotiate(VIRTIO_F_VERSION_1 | 1 << 4);
	CHECK_EQ(get(0x070), 3);
	negotiate(1 << 3);
	CHECK_EQ(get(0x070), 3);
	put(0x070, 15);
	CHECK_EQ(get(0x070) & 4, 0);
	CHECK_EQ(rig.echo.activated, 0);
	tear_down();
}

static void rings_outside_memory_never_become_ready(void)
{
	static const struct {
		uint32_t size;
		uint64_t desc;
	} wrong[] = {
		{8, MEMORY - 64}, {8, MEMORY}, {8, ~0ULL - 63}, {8, 1ULL << 40}, {8, DESC + 8},
		{0, DESC},        {3, DESC},   {512, DESC},     {0x80000000, 0},
	};
	set_up();
	negotiate(VIRTIO_F_VERSION_1);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		set_queue(1, wrong[i].size, wrong[i].desc);
		CHECK_EQ(get(0x044), 0);
	}
	set_queue(1, 8, DESC);
	CHECK_EQ(get(0x044), 1);
	tear_down();
}

static void a_device_that_cannot_start_asks_for_reset(void)
{
	set_up();
	rig.echo.fail_with = -EIO;
	negotiate(VIRTIO_F_VERSION_1);
	set_queue(0, 8, DESC);
	put(0x070, 15);
	CHECK_EQ(get(0x070), 15 | 64);
	wait_for_interrupt();
	CHECK_EQ(get(0x060), 2);
	rig.echo.fail_with = 0;
	negotiate(VIRTIO_F_VERSION_1);
	CHECK_EQ(get(0x070), 11);
	tear_down();
}

static void queues_of_a_running_device_are_fixed(void)
{
	set_up();
	negotiate(VIRTIO_F_VERSION_1);
	set_queue(0, 8, DESC);
	put(0x070, 15);
	set_queue(0, 16, 0);
	put(0x044, 0);
	CHECK_EQ(get(0x044), 1);
	CHECK_EQ(rig.echo.dev.queues[0].size, 8);
	put(0x070, 1);
	CHECK_EQ(get(0x070), 15);
	tear_down();
}

static void random_accesses_are_survived(void)
{
	set_up();
	uint64_t x = 88172645463325252U;
	for (int round = 0; round < 20000; round++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		uint64_t offset = x & (x >> 20 & 1 ? 0xfff : 0x0fc), data = x >> 24;
		unsigned len = 1U << (x >> 12 & 3);
		if (offset == 0x070 && x >> 21 & 1)
			data &= 15;
		if (x >> 22 & 1)
			virtio_mmio__write(rig.mmio, offset, &data, len);
		else
			virtio_mmio__read(rig.mmio, offset, &data, len);
	}
	negotiate(VIRTIO_F_VERSION_1);
	CHECK_EQ(get(0x070), 11);
	tear_down();
}

static void a_device_that_cannot_be_saved_says_so(void)
{
	struct buffer buffer = {.data = NULL};
	struct writer out = writer__begin(&buffer);
	struct failure why;
	set_up();
	CHECK_EQ(virtio_mmio__save(rig.mmio, &out, &why), -ENOTSUP);
	CHECK(strstr(why.message, "the echo device cannot be saved"));
	CHECK_EQ(virtio_mmio__load(rig.mmio, (const uint8_t *)"\xa0", 1, &why), -ENOTSUP);
	buffer__free(&buffer);
	tear_down();
}

int main(void)
{
	CASE(a_driver_finds_and_drives_the_device);
	CASE(configuration_space_is_bounded);
	CASE(a_configuration_change_interrupts_and_counts);
	CASE(features_not_offered_are_not_accepted);
	CASE(rings_outside_memory_never_become_ready);
	CASE(a_device_that_cannot_start_asks_for_reset);
	CASE(queues_of_a_running_device_are_fixed);
	CASE(random_accesses_are_survived);
	CASE(a_device_that_cannot_be_saved_says_so);
	return check__done();
}
