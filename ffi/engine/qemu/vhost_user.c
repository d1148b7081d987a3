/* vhost-user back end: the connection to one front end, from which messages are read whole. */
#include "engine/qemu/vhost_user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/qemu/vhost_user_parts.h"
#include "os/socket.h"

#define MESSAGES_A_TURN 16 /* then other sources of the loop have theirs */

static void drop_fds(struct vhost_user *vu)
{
	for (unsigned i = 0; i < vu->fd_count; i++)
		close(vu->fds[i]);
	vu->fd_count = 0;
}

/* The connection */

static void hang_up(struct vhost_user *vu)
{
	if (vu->options.fd < 0)
		return;
	loop__del(vu->dev->loop, vu->options.fd);
	fd__drop(&vu->options.fd);
	drop_fds(vu);
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
		ring__stop(&vu->rings[i]);
		fd__drop(&vu->rings[i].call);
	}
}

static int collect_fds(struct vhost_user *vu, struct msghdr *msg)
{
	int err = msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (vu->fd_count < VHOST_USER_MAX_REGIONS) {
				vu->fds[vu->fd_count++] = fd;
			} else {
				close(fd);
				err = -EPROTO;
			}
		}
	}
	return err ? vhost_user__refuse(vu, "too many descriptors") : 0;
}

/* Read towards the end of the message under way: 1 when it is whole, 0 when there is no more now, -ECONNRESET at the
 * end of the stream, another -errno when it is broken. */
static int receive(struct vhost_user *vu)
{
	for (;;) {
		size_t want = sizeof(vu->header) + (vu->have < sizeof(vu->header) ? 0 : vu->header.size);
		if (vu->have >= sizeof(vu->header)) {
			if ((vu->header.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
				return vhost_user__refuse(vu, "flags %#x", vu->header.flags);
			if (vu->header.size > sizeof(vu->payload))
				return vhost_user__refuse(vu, "a payload of %u bytes", vu->header.size);
			if (vu->have == want)
				return 1;
		}
		uint8_t *to = vu->have < sizeof(vu->header) ? (uint8_t *)&vu->header + vu->have
							    : (uint8_t *)&vu->payload + (vu->have - sizeof(vu->header));
		struct iovec iov = {to, want - vu->have};
		_Alignas(struct cmsghdr) char control[CMSG_SPACE(VHOST_USER_MAX_REGIONS * sizeof(int))];
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(vu->options.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -ECONNRESET;
		if (n == 0)
			return -ECONNRESET;
		vu->have += (size_t)n;
		int err = collect_fds(vu, &msg);
		if (err)
			return err;
	}
}

static void readable(void *arg, int fd, unsigned ready)
{
	struct vhost_user *vu = arg;
	(void)fd;
	(void)ready;
	int err = 0;
	for (int i = 0; i < MESSAGES_A_TURN; i++) {
		err = receive(vu);
		if (err == 0)
			return;
		if (err == 1) {
			vu->have = 0;
			err = message__handle(vu);
			drop_fds(vu); /* but for those it took */
		}
		if (err)
			break;
	}
	if (!err)
		return;
	hang_up(vu);
	if (err ==
	    -ECONNRESET) /* gone, not broken: the device keeps what it holds until it is freed, to be delivered */
		return;
	rings__reset_device(vu);
	struct failure why;
	(void)!failure__set(&why, EPROTO, NULL, "vhost-user %s, message %u: %s", vu->dev->ops->name, vu->header.request,
			    vu->why.message);
	vu->options.broken(vu->options.arg, &why);
}

/* The front end has come: nobody else may. */
static void on_front_end(void *arg, int fd, unsigned ready)
{
	struct vhost_user *vu = arg;
	(void)ready;
	int connected = socket__accept(fd, true);
	if (connected < 0)
		return;
	loop__del(vu->dev->loop, fd);
	close(fd);
	vu->options.fd = connected;
	if (loop__add(vu->dev->loop, connected, LOOP_READ, readable, vu) < 0)
		fd__drop(&vu->options.fd);
}

int vhost_user__new(struct virtio_device *dev, const struct vhost_user_options *options, struct vhost_user **out)
{
	struct vhost_user *vu = calloc(1, sizeof(*vu));
	if (!vu) {
		close(options->fd);
		return -ENOMEM;
	}
	vu->dev = dev;
	vu->options = *options;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		vu->rings[i] = (struct ring){.vu = vu, .index = i, .kick = -1, .call = -1};
	int err = loop__add(dev->loop, options->fd, LOOP_READ, options->listens ? on_front_end : readable, vu);
	if (err) {
		close(options->fd);
		free(vu);
		return err;
	}
	dev->transport = vu;
	*out = vu;
	return 0;
}

void vhost_user__free(struct vhost_user *vu)
{
	if (!vu)
		return;
	hang_up(vu);
	rings__reset_device(vu);
	memory__unmap(vu);
	vu->dev->transport = NULL;
	free(vu);
}
