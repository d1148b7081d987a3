/* Inside of the virtio-mmio transport: its state, and what saving it asks of the rest. */
#ifndef CAPSA_VIRTIO_MMIO_PARTS_H
#define CAPSA_VIRTIO_MMIO_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "virtio/mmio.h"

enum { INTERRUPT_USED = 1, INTERRUPT_CONFIG = 2 };

/* Device status, section 2.1. */
enum {
	ACKNOWLEDGE = 1,
	DRIVER = 2,
	DRIVER_OK = 4,
	FEATURES_OK = 8,
	NEEDS_RESET = 64,
	FAILED = 128,
	KNOWN_STATUS = 207, /* all of these */
};

/* Enough for a 1 MiB request of single pages; drivers that fill a queue with buffers at boot still do so quickly. */
#define QUEUE_SIZE_MAX 256

struct mmio_queue {
	struct virtio_mmio *mmio; /* for the kick's handler */
	uint32_t size;
	bool ready;
	bool watched; /* its kick_fd is in the worker's loop */
	uint64_t desc, avail, used;
	uint16_t next_avail; /* where it begins: 0, or where it was when it was saved */
	int kick_fd;
};

struct virtio_mmio {
	struct virtio_device *dev;
	struct loop *loop;
	const struct guest_memory *mem;
	int irq_fd;
	_Atomic uint32_t interrupt_status; /* set by the worker, cleared by the guest */
	_Atomic uint32_t config_generation;
	_Atomic uint32_t needs_reset; /* NEEDS_RESET or 0: the worker's part of the status */

	pthread_mutex_t lock; /* over what follows; the worker never takes it, so it may be held while waiting for it */
	uint32_t status;
	bool active; /* between activate and reset */
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint64_t driver_features;
	struct mmio_queue queues[VIRTIO_MAX_QUEUES];
};

/* Feature bits that a driver may take. */
uint64_t mmio__offered(const struct virtio_mmio *mmio);
/* Tell the guest of INTERRUPT_*. */
void mmio__interrupt(struct virtio_mmio *mmio, uint32_t why);
/* As new; under the lock. */
void mmio__reset(struct virtio_mmio *mmio);
/* Whether the rings are of a size and at places that a queue may have. */
bool queue__rings_fit(const struct virtio_mmio *mmio, const struct mmio_queue *queue);

/* On the worker's thread: put the device to work. 0, or -errno with the device as it was. */
__attribute__((warn_unused_result)) int worker__begin(struct virtio_mmio *mmio);
/* The driver may have put buffers in place, and kicked, before it said it was ready. */
void worker__look(const struct virtio_mmio *mmio);

#endif
