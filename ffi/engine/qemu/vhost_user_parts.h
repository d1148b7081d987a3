/* Inside of the vhost-user back end: its state, and what its three parts ask of each other. */
#ifndef CAPSA_ENGINE_VHOST_USER_PARTS_H
#define CAPSA_ENGINE_VHOST_USER_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/qemu/vhost_user.h"
#include "engine/qemu/vhost_user_protocol.h"

struct ring {
	struct vhost_user *vu;
	unsigned index;
	unsigned size; /* entries; 0 until told */
	bool addressed;
	uint64_t desc, used, avail; /* in the front end's space */
	uint16_t base;              /* next available index to begin with */
	int kick, call;             /* -1: none */
	bool started;               /* has a kick descriptor */
	bool on;                    /* SET_VRING_ENABLE */
	bool running;               /* the device works on it */
};

/* What a stopped ring was like; started again with the same, the device goes on where it was. */
struct place {
	unsigned size;
	uint64_t desc, used, avail;
	uint16_t base;
	bool used_before;
};

struct vhost_user {
	struct virtio_device *dev;
	struct vhost_user_options options;
	uint64_t features;
	uint64_t protocol_features;
	struct guest_memory mem;
	struct {
		void *at;
		size_t len;
	} maps[VHOST_USER_MAX_REGIONS];
	struct ring rings[VIRTIO_MAX_QUEUES];
	struct place places[VIRTIO_MAX_QUEUES];
	bool active;    /* the device was activated and rings run */
	bool suspended; /* it was activated, and every ring was stopped since */

	/* The message under way. */
	struct vhost_user_header header;
	union vhost_user_payload payload;
	size_t have; /* bytes of header and payload */
	int fds[VHOST_USER_MAX_REGIONS];
	unsigned fd_count;
	struct failure why;
};

/* Refuse the message under way, in words: -EPROTO. */
#define vhost_user__refuse(vu, ...) ((void)!failure__set(&(vu)->why, EPROTO, NULL, __VA_ARGS__), -EPROTO)

/* Close the descriptor, if it is one, and forget it. */
void fd__drop(int *fd);

/* vhost_user_rings.c: 0, or -errno with `why` filled in. */
/* The ring's kick descriptor is closed and it is stopped; `base` says where. */
void ring__stop(struct ring *ring);
/* The same, and it stays off until it is switched on again. */
void ring__take_back(struct ring *ring);
/* Bring the device in line with what the front end said of its rings. */
__attribute__((warn_unused_result)) int rings__settle(struct vhost_user *vu);
/* Reset the device, if it is active or suspended. */
void rings__reset_device(struct vhost_user *vu);
/* Take the memory table of the message under way; rings that run are stopped for it and found again in it. */
__attribute__((warn_unused_result)) int memory__set(struct vhost_user *vu);
void memory__unmap(struct vhost_user *vu);

/* vhost_user_messages.c: check and carry out the message under way, answer it where it wants an answer. */
__attribute__((warn_unused_result)) int message__handle(struct vhost_user *vu);

#endif
