/* virtio-mmio transport, saved and loaded: registers, queues, and what the device knows. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/writer.h"
#include "virtio/mmio_parts.h"

struct saved_queue {
	uint32_t size;
	bool ready;
	uint64_t desc, avail, used;
	uint16_t next_avail;
};

struct saved_device {
	uint32_t version, id, status, needs_reset, interrupts, generation;
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint64_t driver_features;
	CBOR_LIST_OF(struct saved_queue) queues;
	struct span state;
};

#define QUEUE(member) offsetof(struct saved_queue, member)
static const struct cbor_field queue_fields[] = {
	{.key = "size", .kind = CBOR_U32, .required = true, .offset = QUEUE(size), .max = QUEUE_SIZE_MAX},
	{.key = "ready", .kind = CBOR_BOOL, .required = true, .offset = QUEUE(ready)},
	{.key = "desc", .kind = CBOR_U64, .required = true, .offset = QUEUE(desc)},
	{.key = "avail", .kind = CBOR_U64, .required = true, .offset = QUEUE(avail)},
	{.key = "used", .kind = CBOR_U64, .required = true, .offset = QUEUE(used)},
	{.key = "next", .kind = CBOR_U16, .required = true, .offset = QUEUE(next_avail)},
};
#undef QUEUE
static const struct cbor_table queue_table = CBOR_TABLE("saved-queue", queue_fields);
static const struct cbor_field queue_item = {.kind = CBOR_MAP, .table = &queue_table};

#define SAVED(member) offsetof(struct saved_device, member)
static const struct cbor_field device_fields[] = {
	{.key = "version", .kind = CBOR_U32, .required = true, .offset = SAVED(version), .min = 1, .max = 1},
	{.key = "id", .kind = CBOR_U32, .required = true, .offset = SAVED(id)},
	{.key = "status", .kind = CBOR_U32, .required = true, .offset = SAVED(status), .max = KNOWN_STATUS},
	{.key = "needsReset", .kind = CBOR_U32, .required = true, .offset = SAVED(needs_reset), .max = NEEDS_RESET},
	{.key = "interrupts", .kind = CBOR_U32, .required = true, .offset = SAVED(interrupts), .max = 3},
	{.key = "generation", .kind = CBOR_U32, .required = true, .offset = SAVED(generation)},
	{.key = "deviceFeaturesSel", .kind = CBOR_U32, .required = true, .offset = SAVED(device_features_sel)},
	{.key = "driverFeaturesSel", .kind = CBOR_U32, .required = true, .offset = SAVED(driver_features_sel)},
	{.key = "queueSel", .kind = CBOR_U32, .required = true, .offset = SAVED(queue_sel), .max = VIRTIO_MAX_QUEUES},
	{.key = "driverFeatures", .kind = CBOR_U64, .required = true, .offset = SAVED(driver_features)},
	{.key = "queues",
	 .kind = CBOR_LIST,
	 .required = true,
	 .offset = SAVED(queues),
	 .item = &queue_item,
	 .size = sizeof(struct saved_queue),
	 .max = VIRTIO_MAX_QUEUES},
	{.key = "state", .kind = CBOR_BYTES, .required = true, .offset = SAVED(state)},
};
#undef SAVED
const struct cbor_table virtio_mmio_saved = CBOR_TABLE("saved-device", device_fields);

static void save_queues(const struct virtio_mmio *mmio, struct writer *out)
{
	writer__list(out, "queues", mmio->dev->ops->num_queues);
	for (unsigned i = 0; i < mmio->dev->ops->num_queues; i++) {
		const struct mmio_queue *queue = &mmio->queues[i];
		writer__open(out, NULL);
		writer__uint(out, "size", queue->size <= QUEUE_SIZE_MAX ? queue->size : 0);
		writer__bool(out, "ready", queue->ready);
		writer__uint(out, "desc", queue->desc);
		writer__uint(out, "avail", queue->avail);
		writer__uint(out, "used", queue->used);
		writer__uint(out, "next", mmio->active ? mmio->dev->queues[i].next_avail : queue->next_avail);
		writer__close(out);
	}
}

/* By a table of its own: another device's loader cannot take it for its own. */
static void save_state(const struct virtio_device *dev, struct writer *out)
{
	struct buffer buffer = {.data = NULL};
	struct writer state = writer__begin(&buffer);
	writer__open(&state, NULL);
	if (dev->ops->save)
		dev->ops->save(dev, &state);
	writer__close(&state);
	if (writer__end(&state))
		out->err = out->err ? out->err : -ENOMEM;
	else
		writer__bytes(out, "state", buffer__head(&buffer), buffer__pending(&buffer));
	buffer__free(&buffer);
}

int virtio_mmio__save(const struct virtio_mmio *mmio, struct writer *out, struct failure *why)
{
	const struct virtio_device *dev = mmio->dev;
	if (!dev->ops->saved)
		return failure__set(why, ENOTSUP, NULL, "the %s device cannot be saved", dev->ops->name);
	writer__uint(out, "version", 1);
	writer__uint(out, "id", dev->ops->id);
	writer__uint(out, "status", mmio->status);
	writer__uint(out, "needsReset", atomic_load(&mmio->needs_reset));
	writer__uint(out, "interrupts", atomic_load(&mmio->interrupt_status) & (INTERRUPT_USED | INTERRUPT_CONFIG));
	writer__uint(out, "generation", atomic_load(&mmio->config_generation));
	writer__uint(out, "deviceFeaturesSel", mmio->device_features_sel);
	writer__uint(out, "driverFeaturesSel", mmio->driver_features_sel);
	writer__uint(out, "queueSel", mmio->queue_sel);
	writer__uint(out, "driverFeatures", mmio->driver_features);
	save_queues(mmio, out);
	save_state(dev, out);
	return 0;
}

/* Registers and queues, as no driver could have set them otherwise. */
static int take_registers(struct virtio_mmio *mmio, const struct saved_device *saved, struct failure *why)
{
	const uint64_t features = saved->driver_features;
	if (saved->id != mmio->dev->ops->id || saved->queues.count != mmio->dev->ops->num_queues)
		return failure__set(why, EINVAL, NULL, "what was saved is of no %s device", mmio->dev->ops->name);
	if ((saved->status & DRIVER_OK && !(saved->status & FEATURES_OK)) || saved->status & NEEDS_RESET ||
	    (saved->status & FEATURES_OK && (features & ~mmio__offered(mmio) || !(features & VIRTIO_F_VERSION_1))))
		return failure__set(why, EINVAL, NULL, "the %s device was saved in a state that it cannot have",
				    mmio->dev->ops->name);
	mmio->status = saved->status;
	mmio->driver_features = features;
	mmio->device_features_sel = saved->device_features_sel;
	mmio->driver_features_sel = saved->driver_features_sel;
	mmio->queue_sel = saved->queue_sel < saved->queues.count ? saved->queue_sel : saved->queues.count;
	for (unsigned i = 0; i < saved->queues.count; i++) {
		const struct saved_queue *from = &saved->queues.at[i];
		struct mmio_queue *queue = &mmio->queues[i];
		queue->size = from->size;
		queue->desc = from->desc;
		queue->avail = from->avail;
		queue->used = from->used;
		queue->next_avail = from->next_avail;
		queue->ready = from->ready;
		if (from->ready && (!(saved->status & FEATURES_OK) || !queue__rings_fit(mmio, queue)))
			return failure__set(why, EINVAL, NULL, "queue %u of the %s device does not fit", i,
					    mmio->dev->ops->name);
	}
	return 0;
}

static int take_state(struct virtio_mmio *mmio, struct cbor_reader *reader, const struct saved_device *saved)
{
	const struct virtio_device_ops *ops = mmio->dev->ops;
	void *state = calloc(1, ops->saved_size + 1);
	int err = state ? cbor_table__read(reader, ops->saved, saved->state.at, saved->state.length, state)
			: failure__set(reader->why, ENOMEM, NULL, "no memory for the %s device", ops->name);
	if (!err && ops->load)
		err = ops->load(mmio->dev, state, reader->why);
	free(state);
	return err;
}

/* After a driver's reset a queue begins at 0 again. */
static void forget_places(struct virtio_mmio *mmio)
{
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		mmio->queues[i].next_avail = 0;
}

int virtio_mmio__load(struct virtio_mmio *mmio, const uint8_t *bytes, size_t len, struct failure *why)
{
	struct saved_device saved = {.version = 0};
	struct cbor_arena arena = {NULL};
	struct cbor_reader reader = {.arena = &arena, .why = why};
	int err = mmio->dev->ops->saved
			  ? cbor_table__read(&reader, &virtio_mmio_saved, bytes, len, &saved)
			  : failure__set(why, ENOTSUP, NULL, "the %s device cannot be loaded", mmio->dev->ops->name);
	if (!err)
		err = take_registers(mmio, &saved, why);
	if (!err && mmio->status & DRIVER_OK && !saved.needs_reset) {
		err = worker__begin(mmio);
		mmio->active = err == 0;
		if (err)
			(void)!failure__set(why, -err, NULL, "the %s device cannot be activated", mmio->dev->ops->name);
	}
	if (!err)
		err = take_state(mmio, &reader, &saved);
	cbor_arena__free(&arena);
	forget_places(mmio);
	if (err) {
		mmio__reset(mmio);
		return err;
	}
	atomic_store(&mmio->needs_reset, saved.needs_reset ? NEEDS_RESET : 0);
	atomic_store(&mmio->config_generation, saved.generation);
	atomic_store(&mmio->interrupt_status, saved.interrupts);
	if (saved.interrupts) /* an edge that the guest may not have seen */
		mmio__interrupt(mmio, saved.interrupts);
	if (mmio->active)
		worker__look(mmio);
	return 0;
}
