/* The vhost-user back end against a front end played here: negotiation, rings, pausing, and messages that are wrong. */
#include "engine/qemu/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "driver.h"
#include "engine/qemu/vhost_user_protocol.h"
#include "front_end.h"

#define MEMORY 65536
#define GPA 0x100000U
#define USER 0x7f0000000000ULL
#define RING_ROOM 0x2000U /* of each ring, from the start of memory on */
#define BUFFERS 0x8000U
#define ENTRIES 8

/* A device of two queues that fills what it is given, and counts what is done to it. */
struct probe {
	struct virtio_device dev;
	_Atomic int activations, resets, ready[2];
};

static int probe__activate(struct virtio_device *dev)
{
	((struct probe *)dev)->activations++;
	return 0;
}

static void probe__queue_ready(struct virtio_device *dev, unsigned index)
{
	struct virtqueue_chain chain;
	bool pushed = false;
	((struct probe *)dev)->ready[index]++;
	while (virtqueue__pop(&dev->queues[index], &chain) > 0) {
		for (unsigned i = 0; i < chain.writable_count; i++)
			memset(chain.writable[i].iov_base, 0x5a, chain.writable[i].iov_len);
		virtqueue__push(&dev->queues[index], chain.head, (uint32_t)chain.writable_bytes);
		pushed = true;
	}
	if (pushed)
		virtqueue__notify(&dev->queues[index]);
}

static void probe__reset(struct virtio_device *dev)
{
	((struct probe *)dev)->resets++;
}

static void probe__read_config(struct virtio_device *dev, size_t offset, void *to, size_t len)
{
	(void)dev;
	memcpy(to, &"12345678"[offset], len);
}

static void probe__destroy(struct virtio_device *dev)
{
	(void)dev;
}

static const struct virtio_device_ops probe_ops = {
	.name = "probe",
	.id = VIRTIO_ID_RNG,
	.num_queues = 2,
	.features = 1,
	.config_size = 8,
	.read_config = probe__read_config,
	.activate = probe__activate,
	.queue_ready = probe__queue_ready,
	.reset = probe__reset,
	.destroy = probe__destroy,
};

struct front {
	struct probe probe;
	struct driver_device device;
	struct vhost_user *back;
	int fd, back_fd, memfd;
	uint8_t *memory;
	int kick[2], call[2];
	uint16_t avail[2];
	_Atomic bool broken;
	struct failure why;
};

static struct front f;

static void on_broken(void *arg, const struct failure *why)
{
	struct front *front = arg;
	front->why = *why;
	front->broken = true;
}

static void make_back(void *arg)
{
	(void)arg;
	struct vhost_user_options options = {.fd = f.back_fd, .config = true, .broken = on_broken, .arg = &f};
	f.device.result = vhost_user__new(&f.probe.dev, &options, &f.back);
}

static void free_back(void *arg)
{
	(void)arg;
	vhost_user__free(f.back);
}

static void set_up(void)
{
	int pair[2];
	memset(&f, 0, sizeof(f));
	f.probe.dev.ops = &probe_ops;
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	f.fd = pair[0];
	f.back_fd = pair[1];
	f.memfd = memfd_create("test", MFD_CLOEXEC);
	CHECK(f.memfd >= 0 && ftruncate(f.memfd, MEMORY) == 0);
	f.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, f.memfd, 0);
	CHECK(f.memory != MAP_FAILED);
	for (int i = 0; i < 2; i++) {
		f.kick[i] = eventfd(0, EFD_CLOEXEC);
		f.call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	driver_device__start(&f.device, &f.probe.dev);
	CHECK_EQ(loop__call(f.device.loop, make_back, NULL), 0);
	CHECK_EQ(f.device.result, 0);
}

static void tear_down(void)
{
	CHECK_EQ(loop__call(f.device.loop, free_back, NULL), 0);
	loop__stop(f.device.loop);
	pthread_join(f.device.thread, NULL);
	loop__free(f.device.loop);
	munmap(f.memory, MEMORY);
	close(f.memfd);
	close(f.fd);
	for (int i = 0; i < 2; i++) {
		close(f.kick[i]);
		close(f.call[i]);
	}
}

static void send_raw(const struct vhost_user_header *header, const void *payload, const int *fds, unsigned count)
{
	CHECK(front_end__send(f.fd, header, payload, header->size, fds, count, 0) > 0);
}

static void say(uint32_t request, const void *payload, uint32_t size)
{
	struct vhost_user_header header = {request, VHOST_USER_VERSION, size};
	send_raw(&header, payload, NULL, 0);
}

static void hear(uint32_t request, void *payload, uint32_t size)
{
	struct vhost_user_header header;
	CHECK_EQ(recv(f.fd, &header, sizeof(header), MSG_WAITALL), sizeof(header));
	CHECK_EQ(header.request, request);
	CHECK_EQ(header.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
	CHECK_EQ(header.size, size);
	if (size)
		CHECK_EQ(recv(f.fd, payload, size, MSG_WAITALL), size);
}

static uint64_t ask_u64(uint32_t request)
{
	uint64_t value;
	say(request, NULL, 0);
	hear(request, &value, sizeof(value));
	return value;
}

/* Wait until all that was said has been dealt with. */
static void settle(void)
{
	ask_u64(VHOST_USER_GET_QUEUE_NUM);
}

static void say_vring(uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_user_vring v = {index, num};
	say(request, &v, sizeof(v));
}

static void say_fd(uint32_t request, unsigned index, int fd)
{
	struct vhost_user_header header = {request, VHOST_USER_VERSION, sizeof(uint64_t)};
	uint64_t value = index;
	send_raw(&header, &value, &fd, 1);
}

static void say_memory(uint64_t size, unsigned fds)
{
	struct vhost_user_memory m = {.count = 1,
				      .regions = {{.gpa = GPA, .size = size, .user = USER, .mmap_offset = 0}}};
	struct vhost_user_header header = {VHOST_USER_SET_MEM_TABLE, VHOST_USER_VERSION, 8 + 32};
	send_raw(&header, &m, &f.memfd, fds);
}

static void negotiate(void)
{
	uint64_t features = ask_u64(VHOST_USER_GET_FEATURES);
	uint64_t protocol = 1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK | 1ULL << VHOST_USER_PROTOCOL_F_CONFIG;
	CHECK_EQ(ask_u64(VHOST_USER_GET_PROTOCOL_FEATURES) & protocol, protocol);
	say(VHOST_USER_SET_PROTOCOL_FEATURES, &protocol, sizeof(protocol));
	say(VHOST_USER_SET_OWNER, NULL, 0);
	features &= ~VIRTIO_F_RING_EVENT_IDX; /* every push is then told */
	say(VHOST_USER_SET_FEATURES, &features, sizeof(features));
}

static void say_ring(unsigned i, unsigned base)
{
	uint64_t at = USER + i * RING_ROOM;
	struct vhost_user_vring_addr addr = {.index = i, .desc = at, .avail = at + 0x800, .used = at + 0x1000};
	say_vring(VHOST_USER_SET_VRING_NUM, i, ENTRIES);
	say_vring(VHOST_USER_SET_VRING_BASE, i, base);
	say(VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr));
	say_fd(VHOST_USER_SET_VRING_KICK, i, f.kick[i]);
	say_fd(VHOST_USER_SET_VRING_CALL, i, f.call[i]);
}

static void start_rings(unsigned base0, unsigned base1)
{
	say_memory(MEMORY, 1);
	say_ring(0, base0);
	say_ring(1, base1);
	say_vring(VHOST_USER_SET_VRING_ENABLE, 0, 1);
	settle();
	say_vring(VHOST_USER_SET_VRING_ENABLE, 1, 1);
	settle();
}

static uint16_t used_idx(unsigned i)
{
	uint16_t *used = (uint16_t *)(void *)(f.memory + i * RING_ROOM + 0x1000);
	return __atomic_load_n(&used[1], __ATOMIC_ACQUIRE);
}

/* Give the device one buffer, without a kick. */
static void offer(unsigned i)
{
	uint8_t *ring = f.memory + i * RING_ROOM;
	struct driver_desc desc = {.addr = GPA + BUFFERS + i * 64, .len = 64, .flags = DRIVER_WRITE};
	uint16_t *avail = (uint16_t *)(void *)(ring + 0x800), slot = f.avail[i] % ENTRIES;
	memcpy(ring + slot * sizeof(desc), &desc, sizeof(desc));
	avail[2 + slot] = slot;
	__atomic_store_n(&avail[1], ++f.avail[i], __ATOMIC_RELEASE);
}

static void kick(unsigned i)
{
	uint64_t one = 1;
	CHECK_EQ(write(f.kick[i], &one, sizeof(one)), sizeof(one));
}

static void await_call(unsigned i)
{
	struct pollfd p = {.fd = f.call[i], .events = POLLIN};
	uint64_t count;
	CHECK_EQ(poll(&p, 1, 5000), 1);
	CHECK_EQ(read(f.call[i], &count, sizeof(count)), sizeof(count));
}

static void use_ring(unsigned i)
{
	memset(f.memory + BUFFERS, 0, 128);
	uint16_t before = used_idx(i);
	offer(i);
	kick(i);
	await_call(i);
	CHECK_EQ((uint16_t)(used_idx(i) - before), 1);
	CHECK_EQ(f.memory[BUFFERS + i * 64 + 63], 0x5a);
}

static uint32_t stop_ring(unsigned i)
{
	struct vhost_user_vring v;
	say_vring(VHOST_USER_GET_VRING_BASE, i, 0);
	hear(VHOST_USER_GET_VRING_BASE, &v, sizeof(v));
	CHECK_EQ(v.index, i);
	return v.num;
}

static void what_the_device_offers_is_offered(void)
{
	set_up();
	uint64_t features = ask_u64(VHOST_USER_GET_FEATURES);
	CHECK(features & 1);
	CHECK(features & VIRTIO_F_VERSION_1);
	CHECK(features & VHOST_USER_F_PROTOCOL_FEATURES);
	CHECK_EQ(ask_u64(VHOST_USER_GET_QUEUE_NUM), 2);
	tear_down();
}

static void rings_carry_buffers(void)
{
	set_up();
	negotiate();
	start_rings(0, 0);
	CHECK_EQ(f.probe.activations, 1);
	CHECK_EQ(f.probe.dev.driver_features, 1);
	for (int i = 0; i < 3 * ENTRIES; i++)
		use_ring((unsigned)i & 1);
	CHECK_EQ(f.probe.resets, 0);
	tear_down();
	CHECK_EQ(f.probe.resets, 1);
}

static void the_device_starts_once_every_started_ring_is_on(void)
{
	set_up();
	negotiate();
	say_memory(MEMORY, 1);
	say_ring(0, 0);
	say_ring(1, 0);
	say_vring(VHOST_USER_SET_VRING_ENABLE, 1, 1);
	settle();
	CHECK_EQ(f.probe.activations, 0);
	offer(0); /* and its kick is lost: the ring is looked at when it starts */
	say_vring(VHOST_USER_SET_VRING_ENABLE, 0, 1);
	await_call(0);
	CHECK_EQ(f.probe.activations, 1);
	tear_down();
}

static void a_pause_keeps_the_device(void)
{
	set_up();
	negotiate();
	start_rings(0, 0);
	use_ring(0);
	use_ring(0);
	use_ring(1);
	CHECK_EQ(stop_ring(0), 2);
	offer(1);
	CHECK_EQ(stop_ring(1), 1);
	int ready = f.probe.ready[1];
	kick(1);
	settle();
	CHECK_EQ(f.probe.ready[1], ready); /* stopped */
	start_rings(2, 1);
	await_call(1); /* what was offered meanwhile */
	CHECK_EQ(used_idx(1), 2);
	use_ring(0);
	CHECK_EQ(f.probe.activations, 1);
	CHECK_EQ(f.probe.resets, 0);
	tear_down();
}

static void a_new_start_resets_the_device(void)
{
	set_up();
	negotiate();
	start_rings(0, 0);
	use_ring(0);
	stop_ring(0);
	stop_ring(1);
	memset(f.memory, 0, MEMORY);
	f.avail[0] = f.avail[1] = 0;
	start_rings(0, 0);
	CHECK_EQ(f.probe.resets, 1);
	CHECK_EQ(f.probe.activations, 2);
	use_ring(0);
	tear_down();
}

static void one_ring_can_be_switched_off_and_on(void)
{
	set_up();
	negotiate();
	start_rings(0, 0);
	say_vring(VHOST_USER_SET_VRING_ENABLE, 0, 0);
	settle();
	int ready = f.probe.ready[0];
	offer(0);
	kick(0);
	use_ring(1);
	CHECK_EQ(f.probe.ready[0], ready);
	say_vring(VHOST_USER_SET_VRING_ENABLE, 0, 1);
	await_call(0);
	CHECK_EQ(f.probe.resets, 0);
	tear_down();
}

static void memory_may_move_under_running_rings(void)
{
	set_up();
	negotiate();
	start_rings(0, 0);
	use_ring(0);
	say_memory(MEMORY, 1);
	settle();
	use_ring(0);
	use_ring(1);
	CHECK_EQ(f.probe.resets, 0);
	tear_down();
}

static void configuration_is_read(void)
{
	struct vhost_user_config c = {.offset = 2, .size = 4};
	set_up();
	negotiate();
	say(VHOST_USER_GET_CONFIG, &c, 12 + 4);
	hear(VHOST_USER_GET_CONFIG, &c, 12 + 4);
	CHECK(memcmp(c.region, "3456", 4) == 0);
	c = (struct vhost_user_config){.offset = 6, .size = 4};
	say(VHOST_USER_GET_CONFIG, &c, 12 + 4);
	hear(VHOST_USER_GET_CONFIG, NULL, 0); /* past the end: a payload of nothing */
	CHECK(!f.broken);
	tear_down();
}

static void an_answer_is_given_when_asked_for(void)
{
	uint64_t value;
	set_up();
	negotiate();
	struct vhost_user_header header = {VHOST_USER_SET_VRING_NUM, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, 8};
	struct vhost_user_vring v = {0, ENTRIES};
	send_raw(&header, &v, NULL, 0);
	hear(VHOST_USER_SET_VRING_NUM, &value, sizeof(value));
	CHECK_EQ(value, 0);
	tear_down();
}

static void messages_may_come_in_pieces(void)
{
	set_up();
	negotiate();
	struct vhost_user_header header = {VHOST_USER_SET_VRING_NUM, VHOST_USER_VERSION, 8};
	struct vhost_user_vring v = {1, ENTRIES};
	char bytes[sizeof(header) + sizeof(v)];
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), &v, sizeof(v));
	for (size_t i = 0; i < sizeof(bytes); i++) {
		CHECK_EQ(write(f.fd, bytes + i, 1), 1);
		usleep(200);
	}
	settle();
	CHECK(!f.broken);
	tear_down();
}

static void a_front_end_that_goes_is_no_failure(void)
{
	set_up();
	negotiate();
	start_rings(0, 0);
	shutdown(f.fd, SHUT_RDWR);
	usleep(50000);
	CHECK(!f.broken);
	CHECK_EQ(f.probe.resets, 0); /* what the device still holds can be delivered */
	tear_down();
	CHECK_EQ(f.probe.resets, 1);
}

/* The back end closes the connection and says why. */
static void expect_broken(const char *words)
{
	char byte;
	while (recv(f.fd, &byte, 1, 0) > 0)
		;
	for (int i = 0; i < 1000 && !f.broken; i++)
		usleep(1000);
	CHECK(f.broken);
	CHECK_STR(f.why.code, "EPROTO");
	if (!strstr(f.why.message, words))
		printf("# \"%s\" does not say \"%s\"\n", f.why.message, words);
	CHECK(strstr(f.why.message, words));
	tear_down();
}

static void wrong_messages_are_refused(void)
{
	static const struct {
		struct vhost_user_header header;
		uint64_t payload[5];
		const char *words;
	} list[] = {
		{{VHOST_USER_GET_FEATURES, 2, 0}, {0}, "flags"},
		{{VHOST_USER_GET_FEATURES, 1, 100000}, {0}, "100000 bytes"},
		{{VHOST_USER_GET_FEATURES, 1, 8}, {0}, "8 bytes"},
		{{77, 1, 0}, {0}, "not served"},
		{{VHOST_USER_SET_FEATURES, 1, 8}, {1ULL << 60 | 1ULL << 30}, "not offered"},
		{{VHOST_USER_SET_FEATURES, 1, 8}, {1}, "protocol features"},
		{{VHOST_USER_SET_PROTOCOL_FEATURES, 1, 8}, {1ULL << 40}, "not offered"},
		{{VHOST_USER_SET_VRING_NUM, 1, 8}, {2 | 8ULL << 32}, "ring 2 of 2"},
		{{VHOST_USER_SET_VRING_NUM, 1, 8}, {0 | 7ULL << 32}, "7 entries"},
		{{VHOST_USER_SET_VRING_NUM, 1, 8}, {0 | 2048ULL << 32}, "2048 entries"},
		{{VHOST_USER_SET_VRING_NUM, 1, 8}, {0}, "0 entries"},
		{{VHOST_USER_SET_VRING_BASE, 1, 8}, {0 | 65536ULL << 32}, "base"},
		{{VHOST_USER_SET_VRING_ENABLE, 1, 8}, {0 | 2ULL << 32}, "state"},
		{{VHOST_USER_SET_VRING_KICK, 1, 8}, {0}, "0 descriptors"},
		{{VHOST_USER_SET_VRING_KICK, 1, 8}, {0x100}, "without kicks"},
		{{VHOST_USER_SET_VRING_CALL, 1, 8}, {5}, "ring 5"},
		{{VHOST_USER_SET_MEM_TABLE, 1, 4}, {0}, "table"},
		{{VHOST_USER_SET_MEM_TABLE, 1, 8}, {9}, "table"},
		{{VHOST_USER_SET_MEM_TABLE, 1, 40}, {1}, "1 regions with 0"},
		{{VHOST_USER_SET_CONFIG, 1, 16}, {4ULL << 32}, "cannot be written"},
	};
	for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		set_up();
		struct vhost_user_header header = list[i].header;
		if (header.size > sizeof(list[i].payload))
			CHECK_EQ(send(f.fd, &header, sizeof(header), 0), sizeof(header));
		else
			send_raw(&header, list[i].payload, NULL, 0);
		expect_broken(list[i].words);
	}
}

static void memory_that_is_not_there_is_refused(void)
{
	set_up();
	say_memory(MEMORY + 4096, 1);
	expect_broken("shorter");
	set_up();
	say_memory(UINT64_MAX, 1);
	expect_broken("overflows");
	set_up();
	say_memory(0, 1);
	expect_broken("overflows");
	set_up();
	say_memory(MEMORY, 2);
	expect_broken("2 descriptors");
}

static void descriptors_where_none_belong_are_refused(void)
{
	int fds[12];
	for (int i = 0; i < 12; i++)
		fds[i] = f.memfd;
	set_up();
	struct vhost_user_header header = {VHOST_USER_GET_FEATURES, VHOST_USER_VERSION, 0};
	send_raw(&header, NULL, &f.memfd, 1);
	expect_broken("none belong");
	set_up();
	for (int i = 0; i < 12; i++)
		fds[i] = f.memfd;
	send_raw(&header, NULL, fds, 12);
	expect_broken("too many");
}

static void rings_outside_memory_are_refused(void)
{
	set_up();
	negotiate();
	say_memory(RING_ROOM + 64, 1); /* the second ring's end is outside */
	say_ring(0, 0);
	say_ring(1, 0);
	say_vring(VHOST_USER_SET_VRING_ENABLE, 0, 1);
	say_vring(VHOST_USER_SET_VRING_ENABLE, 1, 1);
	expect_broken("not inside guest memory");
}

static void a_kick_that_cannot_be_polled_is_refused(void)
{
	set_up();
	negotiate();
	say_memory(MEMORY, 1);
	say_ring(0, 0);
	say_fd(VHOST_USER_SET_VRING_KICK, 0, f.memfd);
	say_vring(VHOST_USER_SET_VRING_ENABLE, 0, 1);
	expect_broken("cannot be polled");
}

int main(void)
{
	CASE(what_the_device_offers_is_offered);
	CASE(rings_carry_buffers);
	CASE(the_device_starts_once_every_started_ring_is_on);
	CASE(a_pause_keeps_the_device);
	CASE(a_new_start_resets_the_device);
	CASE(one_ring_can_be_switched_off_and_on);
	CASE(memory_may_move_under_running_rings);
	CASE(configuration_is_read);
	CASE(an_answer_is_given_when_asked_for);
	CASE(messages_may_come_in_pieces);
	CASE(a_front_end_that_goes_is_no_failure);
	CASE(wrong_messages_are_refused);
	CASE(memory_that_is_not_there_is_refused);
	CASE(descriptors_where_none_belong_are_refused);
	CASE(rings_outside_memory_are_refused);
	CASE(a_kick_that_cannot_be_polled_is_refused);
	return check__done();
}
