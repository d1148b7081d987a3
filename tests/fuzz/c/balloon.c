/* Fuzzes virtio-balloon: the input says, step by step, what a guest does to it. Memory has walls that no page may pass.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "input.h"
#include "virtio/balloon.h"

#define BASE 0x100000U
#define PAGES 64U
#define RAM (PAGES * BALLOON_PAGE)
#define QUEUE 16
#define QUEUES 3
#define STEPS 300 /* a bound for inputs that are long */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct run {
	struct input in;
	unsigned steps;
	struct loop *loop;
	struct virtio_device *dev;
	struct guest_memory mem;
	uint8_t *ram;
	uint16_t avail_idx[QUEUES];
};

/* The rings of queue i are in page i. */
static void boot(struct run *r)
{
	memset(r->ram, 0, RAM);
	for (unsigned i = 0; i < QUEUES; i++) {
		uint8_t *rings = r->ram + (size_t)i * BALLOON_PAGE;
		struct virtqueue *vq = &r->dev->queues[i];
		*vq = (struct virtqueue){
			.mem = &r->mem, .size = QUEUE, .event_idx = i == 1, .indirect = true, .notify = {.fd = -1}};
		require(virtqueue__enable(vq, rings, rings + 1024, rings + 2048) == 0);
		r->avail_idx[i] = 0;
	}
	require(r->dev->ops->activate(r->dev) == 0);
}

static void reset(struct run *r)
{
	r->dev->ops->reset(r->dev);
	for (unsigned i = 0; i < QUEUES; i++)
		virtqueue__disable(&r->dev->queues[i]);
	require(virtio_balloon__given(r->dev) == 0);
}

/* One buffer, anywhere and of any length; often page numbers that are nearly right in it. */
static void offer(struct run *r, uint8_t what)
{
	unsigned index = what % QUEUES;
	uint8_t *rings = r->ram + (size_t)index * BALLOON_PAGE;
	uint16_t slot = r->avail_idx[index] % QUEUE;
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} d = {BASE + next8(&r->in) * 1031ULL, next8(&r->in) * 67U, next8(&r->in) & 7, next8(&r->in) % QUEUE};
	if (what & 0x40)
		d.addr = next32(&r->in);
	if (d.addr >= BASE && d.addr + 64 <= BASE + RAM) {
		uint32_t number = BASE / BALLOON_PAGE + next8(&r->in) - 64U;
		for (unsigned i = 0; i < 16; i++, number += (what & 0x80) ? 1U : UINT32_MAX)
			memcpy(r->ram + (d.addr - BASE) + i * 4UL, &number, sizeof(number));
	}
	memcpy(rings + 16UL * slot, &d, sizeof(d));
	uint16_t *avail = (uint16_t *)(void *)(rings + 1024);
	avail[2 + slot] = slot;
	avail[1] = ++r->avail_idx[index];
	r->dev->ops->queue_ready(r->dev, index);
}

static void step(void *arg)
{
	struct run *r = arg;
	uint32_t words[2] = {0, 0};
	if (!r->in.len || r->steps++ == STEPS) {
		loop__stop(r->loop);
		return;
	}
	uint8_t what = next8(&r->in);
	switch (what >> 4 & 3) {
	case 0:
		virtio_balloon__ask(r->dev, next32(&r->in));
		r->dev->ops->read_config(r->dev, what & 7, words, 8U - (what & 7));
		break;
	case 1:
		words[0] = next32(&r->in);
		r->dev->ops->write_config(r->dev, what & 7, words, 8U - (what & 7));
		break;
	case 2:
		if (what & 8) {
			reset(r);
			boot(r);
		} else {
			r->ram[next32(&r->in) % RAM] ^= next8(&r->in);
		}
		break;
	default:
		offer(r, what);
	}
	require(loop__post(r->loop, step, r) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct run r = {.in = {data, len}};
	/* a page before and one behind, which no guest can name */
	uint8_t *all = mmap(NULL, RAM + 2UL * BALLOON_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(all != MAP_FAILED);
	memset(all, 0x5a, RAM + 2UL * BALLOON_PAGE);
	r.ram = all + BALLOON_PAGE;
	r.mem = (struct guest_memory){.count = 2,
				      .regions = {{.gpa = BASE, .size = RAM / 2, .host = r.ram},
						  {.gpa = BASE + RAM / 2, .size = RAM / 2, .host = r.ram + RAM / 2}}};
	require(virtio_balloon__new(&r.dev) == 0);
	require(loop__new(&r.loop) == 0);
	r.dev->loop = r.loop;
	boot(&r);
	require(loop__post(r.loop, step, &r) == 0);
	require(loop__run(r.loop) == 0);
	reset(&r);
	r.dev->ops->destroy(r.dev);
	loop__free(r.loop);
	for (unsigned i = 0; i < BALLOON_PAGE; i++)
		require(all[i] == 0x5a && all[BALLOON_PAGE + RAM + i] == 0x5a);
	munmap(all, RAM + 2UL * BALLOON_PAGE);
	return 0;
}
