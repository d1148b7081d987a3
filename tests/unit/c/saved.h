/* A device at a virtio-mmio transport whose driver is the test, in one thread: saved, and loaded into another one.
 *
 *	saved__start(&rig, dev, 1);             a device, its first queue of 128 entries
 *	driver_queue__add(&rig.queues[0], …);
 *	saved__save(&rig, &buffer);             what it knows; the device is gone
 *	saved__load(&rig, dev, &buffer, &why);  another one goes on where it was, over the same memory
 */
#ifndef CAPSA_TESTS_SAVED_H
#define CAPSA_TESTS_SAVED_H

#include "driver.h"
#include "virtio/mmio.h"

enum { SAVED_QUEUE = 128, SAVED_QUEUES = 3 };

struct saved_rig {
	struct driver memory;
	struct driver_queue queues[SAVED_QUEUES];
	struct loop *loop;
	struct virtio_mmio *mmio;
};

CHECK__UNUSED static void saved__put(struct saved_rig *rig, uint64_t offset, uint32_t value)
{
	virtio_mmio__write(rig->mmio, offset, &value, sizeof(value));
}

CHECK__UNUSED static void saved__attach(struct saved_rig *rig, struct virtio_device *dev)
{
	CHECK_EQ(loop__new(&rig->loop), 0);
	dev->loop = rig->loop;
	CHECK_EQ(virtio_mmio__new(dev, rig->loop, &rig->memory.mem, &rig->mmio), 0);
}

/* A driver takes the device, up to DRIVER_OK: all that it offers, and rings without the event index. */
CHECK__UNUSED static void saved__start(struct saved_rig *rig, struct virtio_device *dev, unsigned queues)
{
	enum { STATUS = 0x70, FEATURES = 0x20, FEATURES_SEL = 0x24, SEL = 0x30, NUM = 0x38, READY = 0x44 };
	static const uint64_t at[] = {0x80, 0x90, 0xa0};
	driver__init(&rig->memory, 4 << 20);
	saved__attach(rig, dev);
	saved__put(rig, STATUS, 3);
	saved__put(rig, FEATURES, (uint32_t)dev->ops->features);
	saved__put(rig, FEATURES_SEL, 1);
	saved__put(rig, FEATURES, 1);
	saved__put(rig, STATUS, 11);
	for (unsigned i = 0; i < queues; i++) {
		struct virtqueue ring;
		struct driver_queue *q = &rig->queues[i];
		driver_queue__init(q, &rig->memory, &ring, SAVED_QUEUE, 0);
		virtqueue__disable(&ring);
		const uint64_t gpa[] = {q->desc_gpa, q->avail_gpa, q->used_gpa};
		saved__put(rig, SEL, i);
		saved__put(rig, NUM, SAVED_QUEUE);
		for (unsigned j = 0; j < 3; j++)
			saved__put(rig, at[j], (uint32_t)gpa[j]);
		saved__put(rig, READY, 1);
	}
	saved__put(rig, STATUS, 15);
}

CHECK__UNUSED static void saved__detach(struct saved_rig *rig, struct virtio_device *dev)
{
	virtio_mmio__free(rig->mmio);
	dev->ops->destroy(dev);
	loop__free(rig->loop);
}

CHECK__UNUSED static void saved__write(const struct saved_rig *rig, struct buffer *to)
{
	*to = (struct buffer){.data = NULL};
	struct writer out = writer__begin(to);
	writer__open(&out, NULL);
	struct failure why;
	CHECK_EQ(virtio_mmio__save(rig->mmio, &out, &why), 0);
	writer__close(&out);
	CHECK_EQ(writer__end(&out), 0);
}

CHECK__UNUSED static void saved__save(struct saved_rig *rig, struct virtio_device *dev, struct buffer *to)
{
	saved__write(rig, to);
	saved__detach(rig, dev);
}

CHECK__UNUSED static int saved__load(struct saved_rig *rig, struct virtio_device *dev, struct buffer *from,
				     struct failure *why)
{
	saved__attach(rig, dev);
	int err = virtio_mmio__load(rig->mmio, buffer__head(from), buffer__pending(from), why);
	buffer__free(from);
	return err;
}

CHECK__UNUSED static void saved__end(struct saved_rig *rig, struct virtio_device *dev, unsigned queues)
{
	saved__detach(rig, dev);
	for (unsigned i = 0; i < queues; i++)
		driver_queue__free(&rig->queues[i]);
	driver__free(&rig->memory);
}

/* The next used chain of a queue, for which the device gets its turns. */
CHECK__UNUSED static int saved__used(struct saved_rig *rig, unsigned queue, uint32_t *len)
{
	int head = driver_queue__used(&rig->queues[queue], len);
	while (head < 0) {
		CHECK_EQ(loop__step(rig->loop, true), 0);
		head = driver_queue__used(&rig->queues[queue], len);
	}
	return head;
}

#endif
