/* listen: a port of the guest's own loopback whose connections the host takes one by one, with accept. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/call.h"

enum {
	SOCKETS = 2, /* 127.0.0.1, ::1 */
	BACKLOG = 128,
	ATTEMPTS = 16, /* to find a port that is free on both */
};

/* What waits in `accept`. */
struct accept {
	struct call call;
	struct listening *listening; /* NULL: never came so far */
	struct accept *next;
};

struct listening {
	struct call call;
	struct listening *next;
	uint64_t number;
	int sockets[SOCKETS];        /* -1: there is none. Parked while nobody accepts: who connects waits */
	struct accept *first, **end; /* the one that has waited longest is served first */
};

static struct loop *loop_of(const struct listening *listening)
{
	return listening->call.connection->agent->loop;
}

static void await(struct listening *listening)
{
	for (int i = 0; i < SOCKETS; i++)
		if (listening->sockets[i] >= 0)
			(void)!loop__mod(loop_of(listening), listening->sockets[i], listening->first ? LOOP_READ : 0);
}

static void unlink_accept(struct accept *accept)
{
	struct listening *listening = accept->listening;
	struct accept **at = &listening->first;
	while (*at != accept)
		at = &(*at)->next;
	*at = accept->next;
	if (!accept->next)
		listening->end = at;
	accept->listening = NULL;
	await(listening);
}

static void ready(void *arg, int listener, unsigned events)
{
	struct listening *listening = arg;
	struct accept *accept = listening->first;
	(void)events;
	if (!accept)
		return;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0)
		call__become(&accept->call, fd);
	else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		call__fail(&accept->call, errno, "accept: %s", strerror(errno));
}

static int open_socket(const struct sockaddr *address, socklen_t size)
{
	const int yes = 1;
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (address->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	if (bind(fd, address, size) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int err = -errno;
	close(fd);
	return err;
}

static void close_sockets(struct listening *listening)
{
	for (int i = 0; i < SOCKETS; i++) {
		if (listening->sockets[i] < 0)
			continue;
		loop__del(loop_of(listening), listening->sockets[i]);
		close(listening->sockets[i]);
		listening->sockets[i] = -1;
	}
}

/* On both loopback addresses: which of them a program takes "localhost" for is its own affair. *port 0 becomes one that
 * is free. Returns 0 or -errno. */
static int open_sockets(struct listening *listening, uint16_t *port)
{
	struct sockaddr_in ipv4 = {
		.sin_family = AF_INET, .sin_port = htons(*port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	socklen_t size = sizeof(ipv4);
	int fd = open_socket((struct sockaddr *)&ipv4, sizeof(ipv4));
	if (fd < 0)
		return fd;
	listening->sockets[0] = fd;
	if (getsockname(fd, (struct sockaddr *)&ipv4, &size))
		return -errno;
	*port = ntohs(ipv4.sin_port);
	ipv6.sin6_port = ipv4.sin_port;
	fd = open_socket((struct sockaddr *)&ipv6, sizeof(ipv6));
	listening->sockets[1] = fd < 0 ? -1 : fd;
	/* a kernel without IPv6 has one address less */
	return fd < 0 && fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL ? fd : 0;
}

static void tell_listening(struct listening *listening, uint16_t port)
{
	struct call *call = &listening->call;

	struct writer out = call__begin_event(call, "listening");
	writer__uint(&out, "listener", listening->number);
	writer__uint(&out, "port", port);
	call__tell(call, &out);
}

static void start_listening(struct call *call, const CborValue *request)
{
	struct listening *listening = container_of(call, struct listening, call);
	struct agent *agent = call->connection->agent;
	uint64_t asked = 0;
	int err = -EADDRINUSE;
	listening->end = &listening->first;
	listening->sockets[0] = listening->sockets[1] = -1;
	if (reader__uint(request, "port", &asked) != 1 || asked > UINT16_MAX) {
		call__refuse(call, "port");
		return;
	}
	uint16_t port;
	for (int i = 0; err == -EADDRINUSE && i < (asked ? 1 : ATTEMPTS); i++) {
		close_sockets(listening);
		port = (uint16_t)asked;
		err = open_sockets(listening, &port);
	}
	for (int i = 0; !err && i < SOCKETS; i++)
		if (listening->sockets[i] >= 0)
			err = loop__add(agent->loop, listening->sockets[i], 0, ready, listening);
	if (err) {
		call__fail(call, err, "port %u: %s", (unsigned)asked, strerror(-err));
		return;
	}
	listening->number = ++agent->listening_count;
	listening->next = agent->listenings;
	agent->listenings = listening;
	tell_listening(listening, port);
}

static void listening_event(struct call *call, struct span ev, const CborValue *message)
{
	(void)message;
	if (span__equals(ev, "abort"))
		call__fail(call, ECANCELED, "listen: given up by the host");
}

static void stop_listening(struct call *call)
{
	struct listening *listening = container_of(call, struct listening, call),
			 **at = &call->connection->agent->listenings;
	close_sockets(listening);
	while (*at && *at != listening)
		at = &(*at)->next;
	if (*at)
		*at = listening->next;
	while (listening->first)
		call__fail(&listening->first->call, ECANCELED, "accept: the port is listened on no more");
}

static void start_accept(struct call *call, const CborValue *request)
{
	struct accept *accept = container_of(call, struct accept, call);
	struct listening *listening = call->connection->agent->listenings;
	uint64_t number = 0;
	if (reader__uint(request, "listener", &number) != 1) {
		call__refuse(call, "listener");
		return;
	}
	while (listening && listening->number != number)
		listening = listening->next;
	if (!listening) {
		call__fail(call, EINVAL, "accept: no listener %llu", (unsigned long long)number);
		return;
	}
	accept->listening = listening;
	*listening->end = accept;
	listening->end = &accept->next;
	await(listening);
}

static void accept_event(struct call *call, struct span ev, const CborValue *message)
{
	(void)message;
	if (span__equals(ev, "abort"))
		call__fail(call, ECANCELED, "accept: given up by the host");
}

static void stop_accept(struct call *call)
{
	struct accept *accept = container_of(call, struct accept, call);
	if (accept->listening)
		unlink_accept(accept);
}

const struct operation operation__listen = {
	.op = "listen",
	.size = sizeof(struct listening),
	.passive = true,
	.start = start_listening,
	.event = listening_event,
	.release = stop_listening,
};

const struct operation operation__accept = {
	.op = "accept",
	.size = sizeof(struct accept),
	.passive = true,
	.start = start_accept,
	.event = accept_event,
	.release = stop_accept,
};
