/* vhost-user back end: carries one virtio device for a front end (QEMU) at the other end of a Unix socket. */
#ifndef CAPSA_ENGINE_VHOST_USER_H
#define CAPSA_ENGINE_VHOST_USER_H

#include <stdbool.h>

#include "common/failure.h"
#include "virtio/virtio.h"

struct vhost_user;

struct vhost_user_options {
	int fd;       /* connected stream socket; taken over, on failure too */
	bool listens; /* fd is a listening one instead, to which the front end will connect; the first that does is it
		       */
	bool config;  /* offer the device's configuration space (a front end that does not ask for it complains) */
	/* Told at most once, on the worker's thread, when the front end broke the protocol: the connection is closed
	 * then and the device reset. A connection that merely ended is not told. */
	void (*broken)(void *arg, const struct failure *why);
	void *arg;
};

/*
 * Serve `dev` on dev->loop, whose thread makes every call on it from here on (this one too: loop__call).
 * A ring the front end stopped and starts again where it was (a paused machine) keeps the device's state; one started
 * anew resets the device first. 0 or -errno; the caller frees *out before it destroys the device.
 */
__attribute__((warn_unused_result)) int
vhost_user__new(struct virtio_device *dev, const struct vhost_user_options *options, struct vhost_user **out);

/* Stop the rings, reset the device, unmap guest memory. On the worker's thread. NULL is allowed. */
void vhost_user__free(struct vhost_user *vu);

#endif
