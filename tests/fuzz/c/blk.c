/* Fuzzes virtio-blk: requests of the input's making, with the disk's bytes counted before and after. */
#include "virtio/blk.h"
#include "input.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMORY 16384 /* rings below 4096, buffers above */
#define BASE 0x1000U
#define QUEUE 16
#define SECTORS 8
#define STEPS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct run {
	struct input in;
	uint8_t *ram;
	struct virtio_device *dev;
};

/* A header now and then as it should be, so that the input need not guess one. */
static void put_header(struct run *r, uint8_t *at)
{
	uint8_t choice = next8(&r->in);
	uint32_t type = choice & 0x80 ? choice : (const uint32_t[]){0, 1, 4, 8}[choice & 3];
	uint64_t sector = next8(&r->in) & 15;
	if (choice & 0x40)
		sector = UINT64_MAX - sector;
	memcpy(at, &type, sizeof(type));
	memcpy(at + 8, &sector, sizeof(sector));
}

/* One request: a chain of up to four buffers, anywhere. */
static void offer(struct run *r)
{
	struct desc *table = (struct desc *)r->ram;
	uint16_t *avail = (uint16_t *)(r->ram + 1024);
	unsigned count = 1 + (next8(&r->in) & 3), head = (avail[1] * 4U) % QUEUE;
	for (unsigned i = 0; i < count; i++) {
		unsigned offset = 4096 + 16U * next8(&r->in);
		uint32_t size = next8(&r->in) & 1 ? 512U * (next8(&r->in) & 15) : next8(&r->in);
		table[head + i] = (struct desc){
			.addr = BASE + offset,
			.len = i ? size : (next8(&r->in) & 7 ? 16 : size),
			.flags = (uint16_t)((i + 1 < count ? 1 : 0) |
					    (next8(&r->in) & 3 ? (i ? 2 : 0) : next8(&r->in) & 6)),
			.next = (uint16_t)(head + i + 1),
		};
		if (i == 0)
			put_header(r, r->ram + offset);
	}
	avail[2 + avail[1] % QUEUE] = (uint16_t)head;
	avail[1]++;
}

static uint64_t sum(int fd)
{
	uint8_t bytes[SECTORS * BLK_SECTOR];
	uint64_t total = 0;
	require(pread(fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes));
	for (unsigned i = 0; i < sizeof(bytes); i++)
		total = total * 31 + bytes[i];
	return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct run r = {.in = {data, len}, .ram = calloc(1, MEMORY)};
	struct guest_memory mem = {.count = 1, .regions = {{.gpa = BASE, .size = MEMORY, .host = r.ram}}};
	bool read_only = next8(&r.in) & 1;
	int disk = memfd_create("disk", MFD_CLOEXEC);
	require(disk >= 0 && ftruncate(disk, (SECTORS + 1) * BLK_SECTOR) == 0);
	const struct blk_options options = {.fd = dup(disk), .read_only = read_only, .sectors = SECTORS, .id = "disk0"};
	uint64_t before = sum(disk);
	struct loop *loop;
	require(loop__new(&loop) == 0 && virtio_blk__new(&options, &r.dev) == 0);
	r.dev->loop = loop;
	r.dev->driver_features = next8(&r.in) & 1 ? r.dev->ops->features : 0;
	struct virtqueue *vq = &r.dev->queues[0];
	*vq = (struct virtqueue){.mem = &mem, .size = QUEUE, .indirect = next8(&r.in) & 1, .notify = {.fd = -1}};
	require(virtqueue__enable(vq, r.ram, r.ram + 1024, r.ram + 2048) == 0);
	require(r.dev->ops->activate(r.dev) == 0);
	for (unsigned step = 0; step < STEPS && r.in.len; step++) {
		offer(&r);
		if (next8(&r.in) & 1)
			r.dev->ops->queue_ready(r.dev, 0);
	}
	r.dev->ops->reset(r.dev);
	/* nothing behind the last sector, and nothing at all on a disk that is read only */
	uint8_t guard[BLK_SECTOR];
	static const uint8_t zero[BLK_SECTOR];
	struct stat st;
	require(pread(disk, guard, sizeof(guard), SECTORS * BLK_SECTOR) == BLK_SECTOR);
	require(memcmp(guard, zero, sizeof(zero)) == 0);
	require(fstat(disk, &st) == 0 && st.st_size == (SECTORS + 1) * BLK_SECTOR);
	require(!read_only || sum(disk) == before);
	virtqueue__disable(vq);
	r.dev->ops->destroy(r.dev);
	loop__free(loop);
	close(disk);
	free(r.ram);
	return 0;
}
