/* vsock, the listening Unix sockets: one for each guest port in use. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/socket.h"
#include "virtio/vsock/ports.h"
#include "virtio/vsock/stream.h"

#define ACCEPT_MAX 16         /* connections taken before other sources of the loop have their turn */
#define PARK_MS 100           /* when descriptors ran out */
#define FIRST_PORT (1U << 30) /* of the host's side of streams to the guest: far above ports that mean something */

/* A host port with which the guest's port makes a new key. */
static uint32_t free_port(struct vsock *v, uint32_t guest_port)
{
	do {
		if (v->next_port < FIRST_PORT || v->next_port >= UINT32_MAX - 1)
			v->next_port = FIRST_PORT;
		else
			v->next_port++;
	} while (vsock_stream__find(v, guest_port, v->next_port));
	return v->next_port;
}

static void listen_for(struct vsock *v, unsigned events)
{
	struct vsock_listener *l;
	LIST_FOREACH(l, &v->listeners, next)
	{
		int err = loop__mod(v->dev.loop, l->fd, events);
		(void)err; /* fails only for a descriptor the loop does not have */
	}
}

static void unpark(void *arg)
{
	struct vsock *v = arg;
	v->accept_timer = 0;
	listen_for(v, LOOP_READ);
}

/* A connection that cannot be taken now stays ready: look away for a while. */
static void park(struct vsock *v)
{
	if (!v->accept_timer && loop__timer(v->dev.loop, PARK_MS, unpark, v, &v->accept_timer) == 0)
		listen_for(v, 0);
}

static void on_connection(void *arg, int fd, unsigned ready)
{
	struct vsock_listener *l = arg;
	struct vsock *v = l->vsock;
	(void)ready;
	for (int i = 0; i < ACCEPT_MAX; i++) {
		int peer = socket__accept(fd, false);
		if (peer < 0) {
			if (peer == -EMFILE || peer == -ENFILE || peer == -ENOMEM || peer == -ENOBUFS)
				park(v);
			break;
		}
		/* when it is one too many, it is closed: its client sees end of file */
		struct vsock_stream *s;
		if (vsock_stream__new(v, l->port, free_port(v, l->port), peer, VSOCK_CONNECTING, &s) == 0)
			vsock_rx__send(s, VSOCK_SEND_REQUEST);
	}
	vsock_rx__pump(v);
}

static int listener__new(struct vsock *v, uint32_t port, int fd)
{
	struct vsock_listener *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct vsock_listener){.vsock = v, .port = port, .fd = fd};
	int err = loop__add(v->dev.loop, fd, v->accept_timer ? 0 : LOOP_READ, on_connection, l);
	if (err) {
		free(l);
		return err;
	}
	LIST_INSERT_HEAD(&v->listeners, l, next);
	return 0;
}

static bool listened_on(const struct vsock *v, uint32_t port)
{
	const struct vsock_listener *l;
	LIST_FOREACH(l, &v->listeners, next)
	if (l->port == port)
		return true;
	return false;
}

int vsock__listen(struct virtio_device *dev, uint32_t port)
{
	struct vsock *v = (struct vsock *)dev;
	if (listened_on(v, port))
		return -EEXIST;
	int fd = v->ports->listen(v->ports_owner, port);
	if (fd < 0)
		return fd;
	int err = listener__new(v, port, fd);
	if (err) {
		close(fd);
		vsock_ports__remove(v->dir_fd, port);
	}
	return err;
}

void vsock__close_listeners(struct vsock *v)
{
	while (!LIST_EMPTY(&v->listeners)) {
		struct vsock_listener *l = LIST_FIRST(&v->listeners);
		LIST_REMOVE(l, next);
		loop__del(v->dev.loop, l->fd);
		close(l->fd);
		vsock_ports__remove(v->dir_fd, l->port);
		free(l);
	}
	loop__timer_cancel(v->dev.loop, v->accept_timer);
	v->accept_timer = 0;
}
