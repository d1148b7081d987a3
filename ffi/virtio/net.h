/* virtio-net device (virtio 1.2, section 5.1): Ethernet frames between the guest's driver and a link on the host. */
#ifndef CAPSA_VIRTIO_NET_H
#define CAPSA_VIRTIO_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/kind.h"

#define VIRTIO_NET_MAC 6         /* bytes of an Ethernet address */
#define VIRTIO_NET_ETHERNET 14   /* bytes of an Ethernet header */
#define VIRTIO_NET_MTU_AT 10     /* offset of the MTU, 16 bits, in the configuration space */
#define VIRTIO_NET_MTU_MAX 65520 /* with it a frame and its header stay below 64 KiB */

/* What the frames go to and come from. Each call is made on the device's worker. */
struct virtio_net_link {
	/* The driver is ready, or went away: nothing may be received until it is ready again. */
	int (*up)(void *arg); /* 0 or -errno */
	void (*down)(void *arg);
	/* A frame of the guest, 14 to 14 + mtu bytes in memory of the host's own: what was checked is what is used. */
	void (*transmit)(void *arg, const uint8_t *frame, size_t len);
	/* Milliseconds until the guest's next frame may be taken; 0: at once. NULL: always at once. Its frames wait in
	 * its own queue, whose length it knows how to deal with. */
	uint64_t (*wait)(void *arg);
	/* The device is destroyed, and `arg` with it. */
	void (*destroy)(void *arg);
};

struct virtio_net_options {
	uint8_t mac[VIRTIO_NET_MAC];
	uint16_t mtu; /* 68..VIRTIO_NET_MTU_MAX, bytes after the Ethernet header */
	const struct virtio_net_link *link;
	void *arg; /* taken over by the device once it is made */
};

/* 0, -EINVAL for an mtu out of range, -ENOMEM. */
__attribute__((warn_unused_result)) int virtio_net__new(const struct virtio_net_options *options,
							struct virtio_device **out);

/* As of the options. */
void *virtio_net__arg(struct virtio_device *dev);

/*
 * Give the guest a frame (copied), whose checksums are right. Where it has no buffers the frame waits; one that would
 * make more than 4 MiB wait is dropped, as a full cable does. The guest is told by virtio_net__flush.
 */
void virtio_net__receive(struct virtio_device *dev, const uint8_t *frame, size_t len);
/* Tell the guest of what was received: once after a batch. */
void virtio_net__flush(struct virtio_device *dev);

#endif
