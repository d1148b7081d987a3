/* One socket a place, bound to no address: whoever answers, the kernel hands it on, and errors with what they are
 * about. */
#include "net/datagram_sockets.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/ip.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/socket.h"

#define AT_ONCE 64 /* datagrams of one socket, before the others have their turn */

struct place {
	struct datagram_sockets *sockets;
	int fd; /* -1: none */
	bool watched, is4;
	int hops; /* as the socket has it; 0: not set yet */
};

struct datagram_sockets {
	struct datagram_sockets_options options;
	uint64_t pause; /* timer: until then nothing is read; 0: none */
	struct place places[DATAGRAMS];
	uint8_t bytes[PACKET_MAX];
};

int datagram_sockets__new(const struct datagram_sockets_options *options, struct datagram_sockets **out)
{
	struct datagram_sockets *sockets = calloc(1, sizeof(*sockets));
	if (!sockets)
		return -ENOMEM;
	sockets->options = *options;
	for (unsigned i = 0; i < DATAGRAMS; i++)
		sockets->places[i] = (struct place){.sockets = sockets, .fd = -1};
	*out = sockets;
	return 0;
}

static void unwatch(struct place *place)
{
	if (place->watched)
		loop__del(place->sockets->options.loop, place->fd);
	place->watched = false;
}

void datagram_sockets__hang_up(struct datagram_sockets *sockets, unsigned index)
{
	struct place *place = &sockets->places[index];
	unwatch(place);
	if (place->fd >= 0)
		close(place->fd);
	place->fd = -1;
}

void datagram_sockets__free(struct datagram_sockets *sockets)
{
	if (!sockets)
		return;
	for (unsigned i = 0; i < DATAGRAMS; i++)
		datagram_sockets__hang_up(sockets, i);
	loop__timer_cancel(sockets->options.loop, sockets->pause);
	free(sockets);
}

/* Coming in */

static bool address_of(const struct sockaddr_storage *socket_address, struct address *address, uint16_t *port)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)socket_address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)socket_address;
	switch (socket_address->ss_family) {
	case AF_INET:
		*address = address__from4(&in->sin_addr);
		*port = ntohs(in->sin_port);
		return true;
	case AF_INET6:
		*address = address__from6(&in6->sin6_addr);
		*port = ntohs(in6->sin6_port);
		return true;
	default:
		return false;
	}
}

/* False when there is nothing more. */
static bool receive(struct place *place)
{
	struct datagram_sockets *sockets = place->sockets;
	struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
	socklen_t from_len = sizeof(from);
	ssize_t len = recvfrom(place->fd, sockets->bytes, sizeof(sockets->bytes), MSG_DONTWAIT,
			       (struct sockaddr *)&from, &from_len);
	struct datagram datagram = {.bytes = sockets->bytes, .len = (size_t)len};
	if (len < 0)
		return errno != EAGAIN; /* an error that is also in the queue of errors */
	if (address_of(&from, &datagram.from, &datagram.port))
		sockets->options.received(sockets->options.arg, (unsigned)(place - sockets->places), &datagram);
	return true;
}

/* As above. */
static bool receive_error(struct place *place)
{
	struct datagram_sockets *sockets = place->sockets;
	struct sockaddr_storage to = {.ss_family = AF_UNSPEC};
	char control[512];
	struct iovec bytes = {sockets->bytes, sizeof(sockets->bytes)};
	struct msghdr message = {.msg_name = &to,
				 .msg_namelen = sizeof(to),
				 .msg_iov = &bytes,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	ssize_t len = recvmsg(place->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
	if (len < 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		struct {
			struct sock_extended_err error;
			struct sockaddr_in6 by; /* the larger of both families */
		} what;
		struct sockaddr_storage by = {.ss_family = AF_UNSPEC};
		struct datagram_error error = {.about = {.bytes = sockets->bytes, .len = (size_t)len}};
		uint16_t port;
		size_t size = c->cmsg_len - CMSG_LEN(0);
		if (size < sizeof(what.error) + sizeof(struct sockaddr_in) || size > sizeof(what) ||
		    !((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		      (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR)))
			continue;
		memcpy(&what, CMSG_DATA(c), size);
		memcpy(&by, &what.by, size - sizeof(what.error));
		error.type = what.error.ee_type;
		error.code = what.error.ee_code;
		if ((what.error.ee_origin == SO_EE_ORIGIN_ICMP || what.error.ee_origin == SO_EE_ORIGIN_ICMP6) &&
		    address_of(&by, &error.by, &port) && address_of(&to, &error.about.from, &error.about.port))
			sockets->options.failed(sockets->options.arg, (unsigned)(place - sockets->places), &error);
	}
	return true;
}

static void watch(struct place *place);

static void go_on(void *arg)
{
	struct datagram_sockets *sockets = arg;
	sockets->pause = 0;
	for (unsigned i = 0; i < DATAGRAMS; i++)
		watch(&sockets->places[i]);
}

/* What the guest cannot have yet stays with the kernel, which drops what is too much. */
static void pause_for(struct datagram_sockets *sockets, uint64_t ms)
{
	if (loop__timer(sockets->options.loop, ms, go_on, sockets, &sockets->pause) < 0)
		return;
	for (unsigned i = 0; i < DATAGRAMS; i++)
		unwatch(&sockets->places[i]);
}

static void on_ready(void *arg, int fd, unsigned ready)
{
	struct place *place = arg;
	struct datagram_sockets *sockets = place->sockets;
	uint64_t wait = 0;
	bool more = true;
	for (unsigned i = 0; i < AT_ONCE && more && place->fd == fd; i++) {
		wait = sockets->options.wait(sockets->options.arg);
		more = !wait && receive(place);
	}
	if (ready & LOOP_WRITE) /* nobody waits for that: it is an error */
		for (unsigned i = 0; i < AT_ONCE && place->fd == fd && receive_error(place); i++)
			continue;
	if (wait && !sockets->pause)
		pause_for(sockets, wait);
}

static void watch(struct place *place)
{
	if (place->fd >= 0 && !place->watched && !place->sockets->pause)
		place->watched = loop__add(place->sockets->options.loop, place->fd, LOOP_READ, on_ready, place) == 0;
}

/* Going out */

static int open_socket(struct place *place, const struct packet *packet)
{
	const int on = 1;
	place->is4 = address__is4(&packet->source);
	place->hops = 0;
	if (packet->kind != PACKET_UDP && !place->is4)
		return -EAFNOSUPPORT;
	place->fd = socket__new(place->is4 ? AF_INET : AF_INET6, SOCK_DGRAM,
				packet->kind == PACKET_UDP ? IPPROTO_UDP : IPPROTO_ICMP, false);
	if (place->fd < 0)
		return place->fd;
	if (place->is4)
		setsockopt(place->fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	else if (setsockopt(place->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0)
		setsockopt(place->fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
	watch(place);
	return 0;
}

/* Who looks for the way has each of its packets end at another place of it. */
static void set_hops(struct place *place, int hops)
{
	if (hops == place->hops)
		return;
	if (place->is4)
		setsockopt(place->fd, IPPROTO_IP, IP_TTL, &hops, sizeof(hops));
	else
		setsockopt(place->fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof(hops));
	place->hops = hops;
}

static bool is_lost(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == EINTR;
}

int datagram_sockets__send(struct datagram_sockets *sockets, unsigned index, const struct packet *packet,
			   const struct address *to)
{
	struct place *place = &sockets->places[index];
	struct sockaddr_storage name;
	int err = place->fd < 0 ? open_socket(place, packet) : 0;
	if (err)
		return err;
	watch(place);
	set_hops(place, packet->hops - 1);
	socklen_t len = address__socket(to, packet->kind == PACKET_UDP ? packet->destination_port : 0, &name);
	/* an error of an earlier one is told first, once, and by the queue as well */
	for (unsigned i = 0; i < 2; i++) {
		ssize_t sent = sendto(place->fd, packet->payload, packet->payload_len, MSG_NOSIGNAL,
				      (struct sockaddr *)&name, len);
		err = sent < 0 ? errno : 0;
		if (!err || is_lost(err))
			return 0;
	}
	return -err;
}
