/* Fuzzes virtio-net: the input is what a guest has written to its rings and buffers, and what happens to the device. */
#include "virtio/net.h"
#include "input.h"

#include <stdlib.h>
#include <string.h>

#define RAM (1U << 16)
#define BASE 0x100000U
#define QUEUE 8
#define MTU 4000
#define STEPS 64 /* a bound for inputs that are long */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static unsigned ups, downs, destroyed;
static volatile uint8_t sink;

static int link_up(void *arg)
{
	(void)arg;
	ups++;
	return 0;
}

static void link_down(void *arg)
{
	(void)arg;
	downs++;
}

/* Echoed, as a network would that answers within the call. */
static void link_transmit(void *arg, const uint8_t *frame, size_t len)
{
	struct virtio_device **dev = arg;
	require(len >= VIRTIO_NET_ETHERNET && len <= VIRTIO_NET_ETHERNET + MTU && ups > downs);
	for (size_t i = 0; i < len; i++)
		sink ^= frame[i];
	virtio_net__receive(*dev, frame, len);
}

static void link_destroy(void *arg)
{
	(void)arg;
	destroyed++;
}

static void enable(struct virtio_device *dev, struct guest_memory *mem, uint8_t *ram)
{
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *rings = ram + 1024UL * i;
		dev->queues[i] = (struct virtqueue){
			.mem = mem, .size = QUEUE, .event_idx = i, .indirect = true, .notify = {.fd = -1}};
		require(virtqueue__enable(&dev->queues[i], rings, rings + 256, rings + 512) == 0);
	}
	require(dev->ops->activate(dev) == 0);
}

static void reset(struct virtio_device *dev)
{
	dev->ops->reset(dev);
	for (unsigned i = 0; i < 2; i++)
		virtqueue__disable(&dev->queues[i]);
	require(ups == downs);
}

static const struct virtio_net_link the_link = {
	.up = link_up, .down = link_down, .transmit = link_transmit, .destroy = link_destroy};

/* The input: a byte of features, then steps of a byte (what to do) and its arguments. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t frame[VIRTIO_NET_ETHERNET + MTU];
	struct virtio_device *dev;
	struct virtio_net_options options = {.mac = {2}, .mtu = MTU, .link = &the_link, .arg = &dev};
	if (!len)
		return 0;
	ups = downs = destroyed = 0;
	uint8_t *ram = calloc(1, RAM);
	require(ram && virtio_net__new(&options, &dev) == 0 && loop__new(&dev->loop) == 0);
	struct guest_memory mem = {.count = 1, .regions = {{.gpa = BASE, .size = RAM, .host = ram}}};
	dev->driver_features = dev->ops->features & (*data & 1 ? ~0ULL : ~(1ULL << 15)) & (*data & 2 ? ~0ULL : ~1ULL);
	data++;
	len--;
	enable(dev, &mem, ram);
	for (unsigned i = 0; i < STEPS && len >= 3; i++) {
		uint8_t what = data[0] % 5;
		size_t n = (size_t)(data[1] << 8 | data[2]);
		data += 3;
		len -= 3;
		size_t bytes = len < 64 ? len : 64;
		switch (what) {
		case 0: /* the guest writes anywhere */
			memcpy(ram + n % (RAM - 64), data, bytes);
			data += bytes;
			len -= bytes;
			break;
		case 1: /* or makes chains available */
			for (unsigned q = 0; q < 2; q++) {
				uint16_t idx;
				memcpy(&idx, ram + 1024UL * q + 258, sizeof(idx));
				idx = (uint16_t)(idx + n % (QUEUE + 1));
				memcpy(ram + 1024UL * q + 258, &idx, sizeof(idx));
			}
			break;
		case 2:
			dev->ops->queue_ready(dev, n % 2);
			break;
		case 3:
			virtio_net__receive(dev, frame, n % (sizeof(frame) + 2));
			virtio_net__flush(dev);
			break;
		case 4:
			reset(dev);
			enable(dev, &mem, ram);
			break;
		}
	}
	reset(dev);
	struct loop *loop = dev->loop;
	dev->ops->destroy(dev);
	require(destroyed == 1);
	loop__free(loop);
	free(ram);
	return 0;
}
