/* A hostile guest: at random, but the same for the same seed, it scribbles over the registers of all devices, sets up
 * queues sound and absurd, fills them with chains of all kinds and kicks; then it uses the devices as one should.
 * Command line: seed=N rounds=N, and absurd=0 where registers and queues are set up as they should be and only rings
 * are hostile. */
#include "bare.h"

static uint32_t state;

static uint32_t any(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static uint32_t below(uint32_t n)
{
	return any() % n;
}

static bool one_in(uint32_t n)
{
	return below(n) == 0;
}

#define MAX_QUEUES 4

/* All that the devices are told to write to lies here or above, or nowhere: this program lies below. */
#define ARENA 0x2000000U

struct arena {
	struct ring rings[MAX_DEVICES][MAX_QUEUES];
	uint8_t buffers[16][4096];
};

#define rings (((struct arena *)ARENA)->rings)
#define buffers (((struct arena *)ARENA)->buffers)

static bool driven[MAX_DEVICES]; /* set up, as far as we know */
static uint32_t chains;
static bool absurd; /* registers and addresses of queues as well */

/* A number that code gets wrong. */
static uint32_t odd_number(void)
{
	static const uint32_t numbers[] = {
		0,          1,          2,          3,          4,          15,         16,        17,      0xff,
		0x100,      0x3ff,      0x400,      0x401,      0x7fff,     0x8000,     0xffff,    0x10000, 0xfffff,
		0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff, 0xc0000000, 0xd0000000, 0xfee00000};
	return one_in(3) ? any() : numbers[below(sizeof(numbers) / sizeof(numbers[0]))];
}

static uint64_t odd_address(void)
{
	uint64_t address;
	switch (below(6)) {
	case 0:
		address = odd_number();
		break;
	case 1: /* around the end of memory, wherever that is */
		address = (1U << (24 + below(7))) - below(64);
		break;
	case 2: /* the rings themselves */
		address = (uintptr_t)&rings[below(MAX_DEVICES)][below(MAX_QUEUES)] + below(sizeof(struct ring));
		break;
	default:
		address = (uintptr_t)buffers[below(16)] + (one_in(2) ? below(4096) : 0);
		break;
	}
	if (address < ARENA)
		address += ARENA;
	return address | (one_in(8) ? (uint64_t)odd_number() << 32 : 0);
}

/* ---- registers ---- */

static void scribble_registers(const struct device *device)
{
	for (unsigned n = 1 + below(12); n > 0; n--) {
		uint32_t offset = one_in(3) ? below(0x200) : below(0x40) * 4;
		if (one_in(8))
			offset = REG_CONFIG + below(0x100);
		volatile uint8_t *at = device->at + offset;
		uint32_t value = odd_number();
		switch (below(8)) {
		case 0:
			*at = (uint8_t)value;
			break;
		case 1:
			*(volatile uint16_t *)at = (uint16_t)value;
			break;
		case 2:
			(void)*at;
			break;
		case 3:
			(void)*(volatile uint32_t *)at;
			break;
		default:
			*(volatile uint32_t *)at = value;
			break;
		}
	}
}

/* The interrupt controller, sparing what would end the guest itself: NMI, INIT and the like. Interrupts are off. */
static void scribble_interrupts(void)
{
	volatile uint8_t *window = (volatile uint8_t *)0xfec00000U;
	for (unsigned n = 1 + below(12); n > 0; n--) {
		uint32_t offset = one_in(4) ? below(0x1000) : 0;
		if (offset / 4 == 4)
			offset = 0;
		*(volatile uint32_t *)window = one_in(4) ? odd_number() : 0x10 + below(0x30);
		(void)*(volatile uint32_t *)(window + 0x10);
		*(volatile uint32_t *)(window + 0x10) = odd_number() & ~0x600U;
		*(volatile uint32_t *)(window + offset) = odd_number();
		(void)*(window + below(0x1000));
	}
}

/* ---- queues ---- */

static void set_up(unsigned index)
{
	const struct device *device = &devices[index];
	device__begin(device);
	if (absurd && one_in(4)) { /* indirect descriptors and event indices, or what nobody offered */
		reg_write(device, REG_STATUS, 0);
		reg_write(device, REG_STATUS, 3);
		reg_write(device, REG_DRIVER_FEATURES_SEL, 0);
		reg_write(device, REG_DRIVER_FEATURES, one_in(4) ? any() : (3U << 28 & any()));
		reg_write(device, REG_DRIVER_FEATURES_SEL, 1);
		reg_write(device, REG_DRIVER_FEATURES, 1);
		reg_write(device, REG_STATUS, 11);
	}
	for (uint32_t queue = 0; queue < MAX_QUEUES; queue++) {
		device__queue(device, queue, &rings[index][queue]);
		if (!absurd || !one_in(6))
			continue;
		/* one that makes no sense, or overlaps another */
		reg_write(device, REG_QUEUE_READY, 0);
		reg_write(device, REG_QUEUE_NUM, one_in(2) ? odd_number() : 1U << below(12));
		for (unsigned part = 0; part < 3; part++) {
			uint64_t address = odd_address() & ~(one_in(4) ? 0ULL : 15ULL);
			reg_write(device, REG_QUEUE_DESC + 16 * part, (uint32_t)address);
			reg_write(device, REG_QUEUE_DESC + 16 * part + 4, (uint32_t)(address >> 32));
		}
		reg_write(device, REG_QUEUE_READY, 1);
	}
	device__go(device);
	driven[index] = true;
}

static void kick(unsigned index, uint32_t queue)
{
	reg_write(&devices[index], REG_QUEUE_NOTIFY, queue);
	chains++;
}

static void offer(struct ring *ring, uint16_t head)
{
	ring->avail.ring[ring->avail.idx % RING_SIZE] = head;
	__asm__ volatile("" ::: "memory");
	ring->avail.idx++;
	__asm__ volatile("" ::: "memory");
}

static void fill_table(struct desc *table, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		table[i].addr = odd_address();
		table[i].len = one_in(4) ? odd_number() : below(4097);
		table[i].flags = (uint16_t)(one_in(8) ? any() : below(8));
		table[i].next = (uint16_t)(one_in(8) ? any() : below(RING_SIZE));
	}
}

/* Descriptors, rings and indices at random. */
static void random_chains(unsigned index)
{
	uint32_t queue = below(MAX_QUEUES);
	struct ring *ring = &rings[index][queue];
	fill_table(ring->desc, RING_SIZE);
	if (one_in(4)) {
		fill_table((struct desc *)buffers[0], 8);
		ring->desc[below(RING_SIZE)] =
			(struct desc){.addr = (uintptr_t)buffers[0], .len = 8 * 16, .flags = DESC_INDIRECT};
	}
	for (unsigned n = below(4); n > 0; n--)
		offer(ring, (uint16_t)(one_in(8) ? any() : below(RING_SIZE)));
	if (one_in(16))
		ring->avail.idx = (uint16_t)any();
	if (one_in(16))
		ring->avail.flags = (uint16_t)any();
	if (one_in(16))
		ring->used.idx = (uint16_t)any();
	kick(index, absurd && one_in(16) ? odd_number() : queue);
}

/* ---- requests that are nearly right ---- */

/* FUSE: header and body in one buffer, room for the answer in another. */
static void fill_fuse(uint8_t *request)
{
	static const uint32_t opcodes[] = {1,  2,  3,  4,  5,  6,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17,
					   18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34,
					   35, 36, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51};
	static const char *const names[] = {"..",          ".",   "",    "0", "a", "../../outside/secret",
					    "/etc/passwd", "a/b", "link"};
	uint32_t *head = (uint32_t *)request;
	for (unsigned i = 0; i < 64; i++)
		head[i] = one_in(3) ? 0 : odd_number();
	head[1] = opcodes[below(sizeof(opcodes) / sizeof(opcodes[0]))];
	head[4] = one_in(4) ? odd_number() : 1 + below(6);
	head[5] = 0;
	for (unsigned i = 6; i < 10; i++)
		head[i] = 0;
	const char *name = names[below(sizeof(names) / sizeof(names[0]))];
	for (unsigned at = 40 + (one_in(2) ? 0 : 4 * below(16));; name++) {
		request[at++] = (uint8_t)*name;
		if (!*name)
			break;
	}
	head[0] = one_in(16) ? odd_number() : 256;
}

/* vsock: a header from us to the host. */
static void fill_vsock(uint8_t *packet)
{
	uint32_t *word = (uint32_t *)packet;
	for (unsigned i = 0; i < 64; i++)
		word[i] = one_in(3) ? 0 : odd_number();
	word[0] = one_in(8) ? odd_number() : 3; /* source CID, 64 bits */
	word[1] = one_in(8) ? odd_number() : 0;
	word[2] = one_in(8) ? odd_number() : 2; /* destination CID */
	word[3] = one_in(8) ? odd_number() : 0;
	word[4] = below(4);
	word[5] = one_in(4) ? odd_number() : 50 + below(6);
	word[6] = one_in(4) ? odd_number() : 256 - 44;
	packet[28] = (uint8_t)(one_in(8) ? any() : 1);
	packet[29] = 0;
	packet[30] = (uint8_t)below(9);
	packet[31] = 0;
}

static void near_request(unsigned index)
{
	uint32_t id = devices[index].id;
	uint32_t queue = id == ID_VSOCK || id == ID_FS || id == ID_CONSOLE ? 1 : 0;
	struct ring *ring = &rings[index][queue];
	uint8_t *request = buffers[1 + below(7)], *answer = buffers[8 + below(8)];
	if (id == ID_FS)
		fill_fuse(request);
	else if (id == ID_VSOCK)
		fill_vsock(request);
	bool has_answer = id == ID_FS && !one_in(8);
	uint16_t head = (uint16_t)(2 * below(RING_SIZE / 2));
	ring->desc[head] =
		(struct desc){.addr = (uintptr_t)request,
			      .len = 256,
			      .flags = (uint16_t)((id == ID_RNG ? DESC_WRITE : 0) | (has_answer ? DESC_NEXT : 0)),
			      .next = (uint16_t)(head + 1)};
	ring->desc[head + 1] =
		(struct desc){.addr = (uintptr_t)answer, .len = one_in(4) ? below(4097) : 4096, .flags = DESC_WRITE};
	if (id == ID_VSOCK) { /* something for the device to answer in */
		struct ring *receive = &rings[index][0];
		receive->desc[head] = (struct desc){.addr = (uintptr_t)answer, .len = 4096, .flags = DESC_WRITE};
		offer(receive, head);
		kick(index, 0);
	}
	offer(ring, head);
	kick(index, queue);
}

static void round(void)
{
	unsigned index = below(device_count);
	if (absurd && one_in(6)) {
		if (one_in(8))
			scribble_interrupts();
		else
			scribble_registers(&devices[index]);
		return;
	}
	if (one_in(40)) {
		reg_write(&devices[index], REG_STATUS, 0);
		driven[index] = false;
	}
	if (!driven[index] || one_in(12))
		set_up(index);
	if (one_in(2))
		random_chains(index);
	else
		near_request(index);
}

/* ---- as one should ---- */

static uint32_t random_bytes_differ(void)
{
	static struct ring ring;
	static uint8_t bytes[64];
	const struct device *device = device__find(ID_RNG);
	if (!device)
		return 0;
	device__begin(device);
	device__queue(device, 0, &ring);
	device__go(device);
	if (ring__exchange(device, 0, &ring, bytes, sizeof(bytes), true) <= 0)
		return 0;
	uint32_t others = 0;
	for (unsigned i = 1; i < sizeof(bytes); i++)
		others += bytes[i] != bytes[0];
	return others > 8;
}

static bool fs_starts(void)
{
	static struct ring ring;
	static uint32_t request[26], answer[64];
	const struct device *device = device__find(ID_FS);
	if (!device)
		return false;
	device__begin(device);
	device__queue(device, 1, &ring);
	device__go(device);
	request[0] = sizeof(request);
	request[1] = 26; /* FUSE_INIT */
	request[2] = 7;
	request[10] = 7; /* version 7.31 */
	request[11] = 31;
	ring.desc[1] = (struct desc){.addr = (uintptr_t)answer, .len = sizeof(answer), .flags = DESC_WRITE};
	ring.desc[2] = (struct desc){.addr = (uintptr_t)request, .len = sizeof(request), .flags = DESC_NEXT, .next = 1};
	offer(&ring, 2);
	reg_write(device, REG_QUEUE_NOTIFY, 1);
	volatile uint16_t *used = &ring.used.idx;
	for (uint32_t tries = 0; tries < 1000000 && *used == 0; tries++)
		reg_read(device, REG_STATUS);
	return *used == 1 && answer[1] == 0 && answer[2] == 7 && answer[4] == 7;
}

static void say(const char *name, uint32_t value)
{
	print(name);
	print_number(value);
}

void run(void)
{
	uint32_t rounds = option("rounds", 10000);
	absurd = option("absurd", 1);
	state = option("seed", 1) | 1U << 31;
	say("hostile: devices=", device_count);
	print("\n");
	for (uint32_t i = 0; i < rounds; i++)
		round();
	console__open();
	say("\nhostile: survived rounds=", rounds);
	say(" rng=", random_bytes_differ());
	say(" fs=", fs_starts());
	say(" kicked=", chains > rounds / 2);
	print("\n");
}
