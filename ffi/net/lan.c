/* The device of a private network, and the way onto it: a connection to each member that is there, and a door for those
 * who come later. */
#include "net/lan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/errno_name.h"
#include "net/lan_hello.h"
#include "net/lan_switch.h"
#include "os/socket.h"

#define SEND_BUFFER (4 << 20) /* asked for; the system gives what it allows */

struct lan {
	struct virtio_device *dev;
	struct lan_switch *members;
	int listener;
};

static void enlarge(int fd)
{
	const int bytes = SEND_BUFFER;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static void on_listener(void *arg, int listener, unsigned ready)
{
	struct lan *lan = arg;
	int fd = socket__accept(listener, false);
	(void)ready;
	if (fd < 0)
		return;
	enlarge(fd);
	(void)!lan_switch__add(lan->members, fd, NULL);
}

/* To the guest */

static void receive(void *arg, const uint8_t *frame, size_t len)
{
	struct lan *lan = arg;
	virtio_net__receive(lan->dev, frame, len);
}

static void flush(void *arg)
{
	struct lan *lan = arg;
	virtio_net__flush(lan->dev);
}

/* The device's link */

static void link__transmit(void *arg, const uint8_t *frame, size_t len)
{
	struct lan *lan = arg;
	lan_switch__from_guest(lan->members, frame, len);
}

static uint64_t link__wait(void *arg)
{
	struct lan *lan = arg;
	return lan_switch__wait(lan->members);
}

static int link__up(void *arg)
{
	struct lan *lan = arg;
	int err = loop__add(lan->dev->loop, lan->listener, LOOP_READ, on_listener, lan);
	if (!err)
		lan_switch__watch(lan->members, lan->dev->loop);
	return err;
}

static void link__down(void *arg)
{
	struct lan *lan = arg;
	loop__del(lan->dev->loop, lan->listener);
	lan_switch__unwatch(lan->members);
}

static void link__destroy(void *arg)
{
	struct lan *lan = arg;
	if (lan->members)
		lan_switch__free(lan->members);
	close(lan->listener);
	free(lan);
}

/* Making */

/* Its connection, or -errno. */
static int connect_to(const struct lan_peer *peer)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	if (strlen(peer->socket) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	memcpy(to.sun_path, peer->socket, strlen(peer->socket));
	int fd = socket__new(AF_UNIX, SOCK_SEQPACKET, 0, false);
	if (fd < 0)
		return fd;
	enlarge(fd);
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	int err = -errno;
	close(fd);
	return err;
}

/* One that has ended since it was found is left out. */
static int join(struct lan *lan, const struct lan_peer *peer, const struct lan_member *self, struct failure *why)
{
	uint8_t hello[LAN_HELLO];
	int fd = connect_to(peer), err = fd < 0 ? fd : 0;
	if (err == -ENOENT || err == -ECONNREFUSED)
		return 0;
	if (!err) {
		lan_hello__write(hello, peer->token, self);
		if (send(fd, hello, sizeof(hello), MSG_NOSIGNAL) != (ssize_t)sizeof(hello)) {
			close(fd);
			return 0;
		}
		err = lan_switch__add(lan->members, fd, &peer->member);
	}
	return err ? failure__set(why, -err, NULL, "the sandbox \"%s\" on the private network cannot be joined (%s)",
				  peer->member.name, errno_name(-err))
		   : 0;
}

static int make_switch(struct lan *lan, const struct lan_options *options, struct failure *why)
{
	struct lan_switch_options members = {
		.self = options->self,
		.name_server = {options->name_server[0], options->name_server[1]},
		.names = options->names,
		.receive = receive,
		.flush = flush,
		.arg = lan,
	};
	memcpy(members.token, options->token, sizeof(members.token));
	int err = lan_switch__new(&members, &lan->members);
	if (err)
		return failure__set(why, -err, NULL, "no memory for a private network");
	for (unsigned i = 0; !err && i < options->peers.count; i++)
		err = join(lan, &options->peers.at[i], &options->self, why);
	return err;
}

int lan__new(const struct lan_options *options, struct virtio_device **out, struct failure *why)
{
	static const struct virtio_net_link link = {.up = link__up,
						    .down = link__down,
						    .transmit = link__transmit,
						    .wait = link__wait,
						    .destroy = link__destroy};
	struct lan *lan = calloc(1, sizeof(*lan));
	if (!lan) {
		close(options->listener);
		return failure__set(why, ENOMEM, NULL, "no memory for a private network");
	}
	lan->listener = options->listener;
	int err = make_switch(lan, options, why);
	struct virtio_net_options device = {.mtu = options->mtu, .link = &link, .arg = lan};
	memcpy(device.mac, options->self.mac, sizeof(device.mac));
	if (!err) {
		err = virtio_net__new(&device, &lan->dev);
		if (err)
			(void)!failure__set(why, -err, NULL, "the device of a private network cannot be made");
	}
	if (err) {
		link__destroy(lan);
		return err;
	}
	*out = lan->dev;
	return 0;
}
