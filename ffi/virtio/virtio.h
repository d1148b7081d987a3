/* The contract between a virtio device and the transport that carries it (virtio-mmio under KVM, vhost-user under
 * QEMU). */
#ifndef CAPSA_VIRTIO_VIRTIO_H
#define CAPSA_VIRTIO_VIRTIO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loop.h"
#include "virtio/queue.h"

struct cbor_table;
struct failure;
struct writer;

/* Device IDs, virtio 1.2 section 5. */
enum virtio_id {
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLOCK = 2,
	VIRTIO_ID_CONSOLE = 3,
	VIRTIO_ID_RNG = 4,
	VIRTIO_ID_BALLOON = 5,
	VIRTIO_ID_VSOCK = 19,
	VIRTIO_ID_FS = 26,
};

/* Feature bits that belong to the transport and the ring, section 6. The rest is the device's. */
#define VIRTIO_F_RING_INDIRECT_DESC (1ULL << 28)
#define VIRTIO_F_RING_EVENT_IDX (1ULL << 29)
#define VIRTIO_F_VERSION_1 (1ULL << 32)

#define VIRTIO_MAX_QUEUES 16

struct virtio_device;

/* How QEMU shows a device to the guest: its front end, which speaks vhost-user to the device here. */
struct virtio_front_end {
	const char *device; /* of -device; NULL: QEMU has no way to attach it */
	bool netdev;        /* behind a -netdev of its own, which connects to a socket itself */
	bool config;        /* asks for the configuration space; else it makes one itself */
	/* Write what else -device is told, as in ",tag=share". NULL: nothing. */
	void (*properties)(struct virtio_device *dev, char *to, size_t size);
};

/*
 * Order of calls, all on the device's worker loop thread: read_config/write_config at any time;
 * activate once the driver is ready (features fixed, all queues it uses enabled); queue_ready for each kick;
 * reset when the driver resets the device or the transport goes away (the device forgets its queues and all streams,
 * then may be activated again); destroy last. A device does not know its transport nor where in memory it is.
 *
 * Between two calls a transport may stop queues, replace guest memory, and start the queues again where they were (a
 * paused machine). A device is not told, and need not be: it keeps no pointer into guest memory beyond a call, a
 * stopped queue gives and takes nothing, and queue_ready comes once a queue runs again.
 */
struct virtio_device_ops {
	const char *name; /* "fs", "vsock": used in logs and in the plan */
	uint32_t id;      /* enum virtio_id */
	unsigned num_queues;
	uint64_t features; /* device feature bits offered (not the VIRTIO_F_ transport ones) */
	struct virtio_front_end front_end;

	/* Device configuration space; offset+len was checked against config_size. */
	size_t config_size;
	void (*read_config)(struct virtio_device *dev, size_t offset, void *to, size_t len);
	void (*write_config)(struct virtio_device *dev, size_t offset, const void *from, size_t len);

	/* Returns 0 or -errno (the transport then marks the device as needing reset). */
	int (*activate)(struct virtio_device *dev);
	/* The guest kicked queue `index`, or the transport asks for a look (after activation, after a resume). */
	void (*queue_ready)(struct virtio_device *dev, unsigned index);
	void (*reset)(struct virtio_device *dev);
	void (*destroy)(struct virtio_device *dev);

	/* What a device is to know in another process: see virtio/mmio.h. `save` writes the fields of the map `saved`,
	 * of a device of which no call is under way; `load` gets them, read and checked by that table into a struct of
	 * `saved_size` bytes, after activate if the driver was ready, and before queue_ready. Who saved may have been
	 * taken over by its guest: whatever `load` is given, it does no harm. 0, or -errno with *why. With a table of
	 * no fields neither is called; without a table the device cannot be saved. */
	const struct cbor_table *saved;
	size_t saved_size;
	void (*save)(const struct virtio_device *dev, struct writer *out);
	int (*load)(struct virtio_device *dev, const void *saved, struct failure *why);
};

/* Payload bytes since the device was made, and requests; written on the worker, read from anywhere. fs counts all of
 * them, net has no requests. */
struct virtio_traffic {
	_Atomic uint64_t from_guest, to_guest, requests;
};

/*
 * Embedded as the first member of each device's own struct. The transport fills `queues` and `driver_features` before
 * activate; the device fills `ops` at creation. `loop` is the worker's loop, set before anything else is called:
 * a device adds its own file descriptors to it.
 */
struct virtio_device {
	const struct virtio_device_ops *ops;
	struct loop *loop;
	uint64_t driver_features;
	struct virtqueue queues[VIRTIO_MAX_QUEUES];
	struct virtio_traffic traffic;
	/* Ask the transport to raise a configuration-change interrupt; NULL until a transport is attached. */
	void (*config_changed)(struct virtio_device *dev);
	void *transport;
};

#endif
