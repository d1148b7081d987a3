/* Ports of the host that lead to the guest: libslirp listens for them. */
#include "net/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "common/errno_name.h"

#define BACKLOG 128
#define NO_TIMEOUT UINT32_MAX

struct search {
	int found[NAT_PUBLISHED + 1];
	unsigned count;
};

static int note_fd(int fd, int events, void *opaque)
{
	struct search *search = opaque;
	(void)events;
	if (search->count < NAT_PUBLISHED + 1)
		search->found[search->count++] = fd;
	return -1;
}

/* libslirp's socket that is not among those before: it does not tell which it has just made. */
static int newest_fd(Slirp *slirp, const struct search *before)
{
	struct search now = {.count = 0};
	uint32_t timeout = NO_TIMEOUT;
	slirp_pollfds_fill(slirp, &timeout, note_fd, &now);
	for (unsigned i = 0; i < now.count; i++) {
		bool known = false;
		for (unsigned j = 0; j < before->count; j++)
			known = known || before->found[j] == now.found[i];
		if (!known)
			return now.found[i];
	}
	return -1;
}

int publish__bind(Slirp *slirp, const struct net_addresses *addresses, struct nat_publish *port, struct failure *why)
{
	struct sockaddr_storage host, guest;
	char text[ADDRESS_TEXT];
	bool is4 = address__is4(&port->host);
	socklen_t host_len = address__socket(&port->host, port->host_port, &host);
	socklen_t guest_len = address__socket(&addresses->guest[is4 ? 0 : 1], port->guest_port, &guest);
	struct search before = {.count = 0};
	uint32_t timeout = NO_TIMEOUT;
	slirp_pollfds_fill(slirp, &timeout, note_fd, &before);
	int flags = (port->protocol == POLICY_UDP ? SLIRP_HOSTFWD_UDP : 0) | (is4 ? 0 : SLIRP_HOSTFWD_V6ONLY);
	address__print(&port->host, text);
	if (slirp_add_hostxfwd(slirp, (struct sockaddr *)&host, host_len, (struct sockaddr *)&guest, guest_len, flags) <
	    0) {
		int error = errno;
		return failure__set(why, error, error == EADDRINUSE ? "PORT_IN_USE" : NULL,
				    "port %u/%s of %s cannot be published: %s", port->host_port,
				    port->protocol == POLICY_UDP ? "udp" : "tcp", text,
				    error == EADDRINUSE      ? "it is taken; choose another, or 0 for one that is free"
				    : error == EACCES        ? "this user may not bind it; choose one above 1023"
				    : error == EADDRNOTAVAIL ? "this machine does not have the address"
							     : errno_name(error));
	}
	int fd = newest_fd(slirp, &before);
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} bound = {.in6 = {.sin6_family = AF_UNSPEC}};
	socklen_t bound_len = sizeof(bound);
	if (fd < 0 || getsockname(fd, &bound.any, &bound_len) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
	    (port->protocol == POLICY_TCP && listen(fd, BACKLOG) < 0))
		return failure__set(why, EIO, NULL, "port %u of %s was published, but is not heard", port->host_port,
				    text);
	port->host_port = ntohs(is4 ? bound.in.sin_port : bound.in6.sin6_port);
	return 0;
}
