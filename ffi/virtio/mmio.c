/* virtio-mmio transport: registers on the vCPU's thread, the device itself always on its worker's. */
#include "virtio/mmio_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/bell.h"

/* Registers, section 4.2.2. */
enum {
	MAGIC_VALUE = 0x000,
	VERSION = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034,
	QUEUE_NUM = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = VIRTIO_MMIO_QUEUE_NOTIFY,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC_LOW = 0x080,
	QUEUE_DESC_HIGH = 0x084,
	QUEUE_DRIVER_LOW = 0x090,
	QUEUE_DRIVER_HIGH = 0x094,
	QUEUE_DEVICE_LOW = 0x0a0,
	QUEUE_DEVICE_HIGH = 0x0a4,
	SHM_SEL = 0x0ac,
	SHM_LEN_LOW = 0x0b0,
	SHM_LEN_HIGH = 0x0b4,
	SHM_BASE_LOW = 0x0b8,
	SHM_BASE_HIGH = 0x0bc,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

void mmio__interrupt(struct virtio_mmio *mmio, uint32_t why)
{
	atomic_fetch_or(&mmio->interrupt_status, why);
	bell__ring(mmio->irq_fd);
}

static void mmio__used(void *arg)
{
	mmio__interrupt(arg, INTERRUPT_USED);
}

static void mmio__config_changed(struct virtio_device *dev)
{
	struct virtio_mmio *mmio = dev->transport;
	atomic_fetch_add(&mmio->config_generation, 1);
	mmio__interrupt(mmio, INTERRUPT_CONFIG);
}

uint64_t mmio__offered(const struct virtio_mmio *mmio)
{
	return mmio->dev->ops->features | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_INDIRECT_DESC | VIRTIO_F_RING_EVENT_IDX;
}

/* ---- on the worker's thread ---- */

static void worker__kicked(void *arg, int fd, unsigned ready)
{
	struct mmio_queue *queue = arg;
	(void)ready;
	if (bell__hear(fd) < 0)
		return;
	struct virtio_device *dev = queue->mmio->dev;
	dev->ops->queue_ready(dev, (unsigned)(queue - queue->mmio->queues));
}

static void worker__detach(void *arg)
{
	struct virtio_mmio *mmio = arg;
	struct virtio_device *dev = mmio->dev;
	for (unsigned i = 0; i < dev->ops->num_queues; i++) {
		if (mmio->queues[i].watched)
			loop__del(mmio->loop, mmio->queues[i].kick_fd);
		mmio->queues[i].watched = false;
	}
	dev->ops->reset(dev);
	for (unsigned i = 0; i < dev->ops->num_queues; i++)
		virtqueue__disable(&dev->queues[i]);
}

static int worker__enable_queue(struct virtio_mmio *mmio, unsigned index)
{
	struct mmio_queue *queue = &mmio->queues[index];
	struct virtqueue *vq = &mmio->dev->queues[index];
	memset(vq, 0, sizeof(*vq));
	vq->mem = mmio->mem;
	vq->size = queue->size;
	vq->event_idx = mmio->driver_features & VIRTIO_F_RING_EVENT_IDX;
	vq->indirect = mmio->driver_features & VIRTIO_F_RING_INDIRECT_DESC;
	vq->kick_fd = queue->kick_fd;
	vq->notify = (struct virtqueue_notify){.fd = -1, .fn = mmio__used, .arg = mmio};
	int error =
		virtqueue__resume(vq, guest_memory__at(mmio->mem, queue->desc, 16ULL * queue->size),
				  guest_memory__at(mmio->mem, queue->avail, 6 + 2ULL * queue->size),
				  guest_memory__at(mmio->mem, queue->used, 6 + 8ULL * queue->size), queue->next_avail);
	if (error)
		return error;
	error = loop__add(mmio->loop, queue->kick_fd, LOOP_READ, worker__kicked, queue);
	queue->watched = !error;
	return error;
}

int worker__begin(struct virtio_mmio *mmio)
{
	struct virtio_device *dev = mmio->dev;
	dev->driver_features = mmio->driver_features;
	int error = 0;
	for (unsigned i = 0; i < dev->ops->num_queues && !error; i++)
		if (mmio->queues[i].ready)
			error = worker__enable_queue(mmio, i);
	if (!error)
		error = dev->ops->activate(dev);
	if (error)
		worker__detach(mmio);
	return error;
}

void worker__look(const struct virtio_mmio *mmio)
{
	for (unsigned i = 0; i < mmio->dev->ops->num_queues; i++)
		if (mmio->queues[i].ready)
			mmio->dev->ops->queue_ready(mmio->dev, i);
}

static void worker__activate(void *arg)
{
	struct virtio_mmio *mmio = arg;
	if (worker__begin(mmio)) {
		atomic_store(&mmio->needs_reset, NEEDS_RESET);
		mmio__config_changed(mmio->dev);
		return;
	}
	worker__look(mmio);
}

struct config_access {
	struct virtio_device *dev;
	size_t offset, len;
	void *to;
	const void *from;
};

static void worker__read_config(void *arg)
{
	struct config_access *access = arg;
	access->dev->ops->read_config(access->dev, access->offset, access->to, access->len);
}

static void worker__write_config(void *arg)
{
	struct config_access *access = arg;
	access->dev->ops->write_config(access->dev, access->offset, access->from, access->len);
}

/* ---- on a vCPU's thread, under the lock ---- */

void mmio__reset(struct virtio_mmio *mmio)
{
	if (mmio->active && loop__call(mmio->loop, worker__detach, mmio) < 0)
		worker__detach(mmio); /* the loop has ended, its thread with it */
	mmio->active = false;
	mmio->status = 0;
	mmio->driver_features = 0;
	mmio->device_features_sel = mmio->driver_features_sel = mmio->queue_sel = 0;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
		struct mmio_queue *queue = &mmio->queues[i];
		queue->size = 0;
		queue->ready = false;
		queue->desc = queue->avail = queue->used = 0;
		queue->next_avail = 0;
	}
	atomic_store(&mmio->needs_reset, 0);
	atomic_store(&mmio->interrupt_status, 0);
}

static void mmio__write_status(struct virtio_mmio *mmio, uint32_t status)
{
	if (status == 0) {
		mmio__reset(mmio);
		return;
	}
	uint32_t added = status & ~mmio->status & ~(uint32_t)NEEDS_RESET;
	if (mmio->status & ~status || status & ~(uint32_t)KNOWN_STATUS) /* only a reset takes bits away */
		return;
	if (added & FEATURES_OK &&
	    (mmio->driver_features & ~mmio__offered(mmio) || !(mmio->driver_features & VIRTIO_F_VERSION_1)))
		added &= ~(uint32_t)FEATURES_OK; /* as section 2.2.2 says: the driver reads it back and gives up */
	mmio->status |= added & ~(uint32_t)DRIVER_OK;
	if (!(added & DRIVER_OK))
		return;
	if (!(mmio->status & FEATURES_OK))
		return;
	mmio->status |= DRIVER_OK;
	mmio->active = loop__call(mmio->loop, worker__activate, mmio) == 0;
}

bool queue__rings_fit(const struct virtio_mmio *mmio, const struct mmio_queue *queue)
{
	uint64_t n = queue->size;
	return n > 0 && n <= QUEUE_SIZE_MAX && (n & (n - 1)) == 0 && queue->desc % 16 == 0 && queue->avail % 2 == 0 &&
	       queue->used % 4 == 0 && guest_memory__at(mmio->mem, queue->desc, 16 * n) &&
	       guest_memory__at(mmio->mem, queue->avail, 6 + 2 * n) &&
	       guest_memory__at(mmio->mem, queue->used, 6 + 8 * n);
}

static void set_low(uint64_t *to, uint32_t value)
{
	*to = (*to & 0xffffffff00000000U) | value;
}

static void set_high(uint64_t *to, uint32_t value)
{
	*to = (*to & 0xffffffffU) | (uint64_t)value << 32;
}

/* A register of the queue that QueueSel chose. Queues are fixed once ready, and all of them once the driver is. */
static void mmio__write_queue(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	if (mmio->queue_sel >= mmio->dev->ops->num_queues)
		return;
	struct mmio_queue *queue = &mmio->queues[mmio->queue_sel];
	if (offset == QUEUE_READY && value == 0 && !mmio->active) { /* drivers let go of queues after a reset, too */
		queue->ready = false;
		return;
	}
	if (mmio->status & DRIVER_OK || !(mmio->status & FEATURES_OK) || queue->ready)
		return;
	switch (offset) {
	case QUEUE_NUM:
		queue->size = value;
		break;
	case QUEUE_READY:
		queue->ready = value == 1 && queue__rings_fit(mmio, queue);
		break;
	case QUEUE_DESC_LOW:
		set_low(&queue->desc, value);
		break;
	case QUEUE_DESC_HIGH:
		set_high(&queue->desc, value);
		break;
	case QUEUE_DRIVER_LOW:
		set_low(&queue->avail, value);
		break;
	case QUEUE_DRIVER_HIGH:
		set_high(&queue->avail, value);
		break;
	case QUEUE_DEVICE_LOW:
		set_low(&queue->used, value);
		break;
	default: /* QUEUE_DEVICE_HIGH */
		set_high(&queue->used, value);
		break;
	}
}

static void mmio__write_driver_features(struct virtio_mmio *mmio, uint32_t value)
{
	if (mmio->status & FEATURES_OK)
		return;
	if (mmio->driver_features_sel == 0)
		set_low(&mmio->driver_features, value);
	else if (mmio->driver_features_sel == 1)
		set_high(&mmio->driver_features, value);
}

static void mmio__notify(struct virtio_mmio *mmio, uint32_t queue)
{
	if (queue < mmio->dev->ops->num_queues && mmio->active)
		bell__ring(mmio->queues[queue].kick_fd);
}

static void mmio__write_register(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case DEVICE_FEATURES_SEL:
		mmio->device_features_sel = value;
		break;
	case DRIVER_FEATURES_SEL:
		mmio->driver_features_sel = value;
		break;
	case DRIVER_FEATURES:
		mmio__write_driver_features(mmio, value);
		break;
	case QUEUE_SEL: /* one past the last stands for all that do not exist */
		mmio->queue_sel = value < mmio->dev->ops->num_queues ? value : mmio->dev->ops->num_queues;
		break;
	case QUEUE_NOTIFY:
		mmio__notify(mmio, value);
		break;
	case INTERRUPT_ACK:
		atomic_fetch_and(&mmio->interrupt_status, ~value);
		break;
	case STATUS:
		mmio__write_status(mmio, value);
		break;
	case SHM_SEL:
		break;
	case QUEUE_NUM:
	case QUEUE_READY:
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH:
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH:
	case QUEUE_DEVICE_LOW:
	case QUEUE_DEVICE_HIGH:
		mmio__write_queue(mmio, offset, value);
		break;
	default:
		break;
	}
}

static uint32_t mmio__read_register(struct virtio_mmio *mmio, uint64_t offset)
{
	bool has_queue = mmio->queue_sel < mmio->dev->ops->num_queues;
	switch (offset) {
	case MAGIC_VALUE:
		return 0x74726976; /* "virt" */
	case VERSION:
		return 2;
	case DEVICE_ID:
		return mmio->dev->ops->id;
	case VENDOR_ID:
		return 0;
	case DEVICE_FEATURES:
		return mmio->device_features_sel > 1
			       ? 0
			       : (uint32_t)(mmio__offered(mmio) >> (32 * mmio->device_features_sel));
	case QUEUE_NUM_MAX:
		return has_queue ? QUEUE_SIZE_MAX : 0;
	case QUEUE_READY:
		return has_queue && mmio->queues[mmio->queue_sel].ready;
	case INTERRUPT_STATUS:
		return atomic_load(&mmio->interrupt_status);
	case STATUS:
		return mmio->status | atomic_load(&mmio->needs_reset);
	case SHM_LEN_LOW:
	case SHM_LEN_HIGH:
	case SHM_BASE_LOW:
	case SHM_BASE_HIGH:
		return 0xffffffff; /* no shared memory region, whichever was selected */
	case CONFIG_GENERATION:
		return atomic_load(&mmio->config_generation);
	default:
		return 0;
	}
}

static void mmio__config(struct virtio_mmio *mmio, uint64_t offset, void *to, const void *from, unsigned len)
{
	struct config_access access = {.dev = mmio->dev, .offset = offset - CONFIG, .len = len, .to = to, .from = from};
	const struct virtio_device_ops *ops = mmio->dev->ops;
	if (access.offset < ops->config_size && len <= ops->config_size - access.offset &&
	    (to ? ops->read_config != NULL : ops->write_config != NULL))
		(void)!loop__call(mmio->loop, to ? worker__read_config : worker__write_config, &access);
}

void virtio_mmio__read(struct virtio_mmio *mmio, uint64_t offset, void *data, unsigned len)
{
	memset(data, 0, len);
	/* the two registers of the interrupt's path need no lock */
	if (offset == INTERRUPT_STATUS && len == 4) {
		uint32_t status = atomic_load(&mmio->interrupt_status);
		memcpy(data, &status, sizeof(status));
		return;
	}
	pthread_mutex_lock(&mmio->lock);
	if (offset >= CONFIG) {
		mmio__config(mmio, offset, data, NULL, len);
	} else if (len == 4) {
		uint32_t value = mmio__read_register(mmio, offset);
		memcpy(data, &value, sizeof(value));
	}
	pthread_mutex_unlock(&mmio->lock);
}

void virtio_mmio__write(struct virtio_mmio *mmio, uint64_t offset, const void *data, unsigned len)
{
	uint32_t value = 0;
	if (len == 4)
		memcpy(&value, data, sizeof(value));
	if (offset == INTERRUPT_ACK && len == 4) {
		atomic_fetch_and(&mmio->interrupt_status, ~value);
		return;
	}
	pthread_mutex_lock(&mmio->lock);
	if (offset >= CONFIG)
		mmio__config(mmio, offset, NULL, data, len);
	else if (len == 4)
		mmio__write_register(mmio, offset, value);
	pthread_mutex_unlock(&mmio->lock);
}

int virtio_mmio__irq_fd(const struct virtio_mmio *mmio)
{
	return mmio->irq_fd;
}

int virtio_mmio__kick_fd(const struct virtio_mmio *mmio, unsigned queue)
{
	return mmio->queues[queue].kick_fd;
}

int virtio_mmio__new(struct virtio_device *dev, struct loop *loop, const struct guest_memory *mem,
		     struct virtio_mmio **out)
{
	struct virtio_mmio *mmio = calloc(1, sizeof(*mmio));
	if (!mmio)
		return -ENOMEM;
	mmio->dev = dev;
	mmio->loop = loop;
	mmio->mem = mem;
	pthread_mutex_init(&mmio->lock, NULL);
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		mmio->queues[i] = (struct mmio_queue){.mmio = mmio, .kick_fd = -1};
	mmio->irq_fd = bell__new();
	int error = mmio->irq_fd < 0 ? mmio->irq_fd : 0;
	for (unsigned i = 0; i < dev->ops->num_queues && !error; i++) {
		mmio->queues[i].kick_fd = bell__new();
		error = mmio->queues[i].kick_fd < 0 ? mmio->queues[i].kick_fd : 0;
	}
	if (error) {
		virtio_mmio__free(mmio);
		return error;
	}
	dev->transport = mmio;
	dev->config_changed = mmio__config_changed;
	*out = mmio;
	return 0;
}

void virtio_mmio__free(struct virtio_mmio *mmio)
{
	if (!mmio)
		return;
	mmio__reset(mmio);
	mmio->dev->transport = NULL;
	mmio->dev->config_changed = NULL;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		if (mmio->queues[i].kick_fd >= 0)
			close(mmio->queues[i].kick_fd);
	if (mmio->irq_fd >= 0)
		close(mmio->irq_fd);
	pthread_mutex_destroy(&mmio->lock);
	free(mmio);
}
