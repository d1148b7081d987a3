/* connect: a stream to a server in the guest, which the connection becomes. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/call.h"

enum {
	TARGETS = 2,   /* 127.0.0.1, ::1 */
	AGAIN_MS = 20, /* a Unix socket has no place for one more and does not tell when it has */
};

struct target {
	union {
		struct sockaddr any;
		struct sockaddr_in ipv4;
		struct sockaddr_in6 ipv6;
		struct sockaddr_un local;
	};
	socklen_t size;
};

struct connect {
	struct call call;
	int socket;     /* -1: there is none */
	uint64_t again; /* timer; 0: none */
	struct target targets[TARGETS];
	int count, at;
	int err; /* of the first target */
	char name[PATH_MAX];
};

static void attempt(struct connect *connect);

static struct loop *loop_of(const struct connect *connect)
{
	return connect->call.connection->agent->loop;
}

static void close_socket(struct connect *connect)
{
	if (connect->socket < 0)
		return;
	loop__del(loop_of(connect), connect->socket);
	close(connect->socket);
	connect->socket = -1;
}

static void connected(struct connect *connect)
{
	int fd = connect->socket;
	loop__del(loop_of(connect), fd);
	connect->socket = -1;
	call__become(&connect->call, fd);
}

static void refused(struct connect *connect, int err)
{
	close_socket(connect);
	if (!connect->err)
		connect->err = err;
	if (++connect->at < connect->count)
		attempt(connect);
	else
		call__fail(&connect->call, connect->err, "%s: %s", connect->name, strerror(connect->err));
}

static void socket_ready(void *arg, int fd, unsigned ready)
{
	struct connect *connect = arg;
	int err = 0;
	socklen_t size = sizeof(err);
	(void)ready;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size))
		err = errno;
	if (err)
		refused(connect, err);
	else
		connected(connect);
}

static void again(void *arg)
{
	struct connect *connect = arg;
	connect->again = 0;
	attempt(connect);
}

static void attempt(struct connect *request)
{
	const struct target *target = &request->targets[request->at];
	close_socket(request);
	request->socket = socket(target->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err = request->socket < 0 || connect(request->socket, &target->any, target->size) ? errno : 0;
	if (err == EINPROGRESS)
		err = -loop__add(loop_of(request), request->socket, LOOP_WRITE, socket_ready, request);
	else if (err == EAGAIN)
		err = -loop__timer(loop_of(request), AGAIN_MS, again, request, &request->again);
	else if (!err)
		connected(request);
	if (err)
		refused(request, err);
}

/* Returns 0, or -errno after call__fail. */
static int take_path(struct connect *connect, const CborValue *request)
{
	struct target *target = &connect->targets[0];
	struct sockaddr_un *local = &target->local;
	int err = call__take_path(&connect->call, request, "path", connect->name);
	if (err)
		return err;
	if (strlen(connect->name) >= sizeof(local->sun_path))
		return call__fail(&connect->call, ENAMETOOLONG, "%s: the path of a socket has at most %zu bytes",
				  connect->name, sizeof(local->sun_path) - 1);
	local->sun_family = AF_UNIX;
	strcpy(local->sun_path, connect->name); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): measured above
	target->size = sizeof(*local);
	connect->count = 1;
	return 0;
}

static void set_port(struct connect *connect, uint16_t port)
{
	struct target *ipv4 = &connect->targets[0], *ipv6 = &connect->targets[1];
	ipv4->ipv4 = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	ipv4->size = sizeof(ipv4->ipv4);
	ipv6->ipv6 = (struct sockaddr_in6){
		.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	ipv6->size = sizeof(ipv6->ipv6);
	connect->count = TARGETS;
	snprintf(connect->name, sizeof(connect->name), "port %u", port);
}

static void start(struct call *call, const CborValue *request)
{
	struct connect *connect = container_of(call, struct connect, call);
	uint64_t port = 0;
	int found = reader__uint(request, "port", &port);
	connect->socket = -1;
	if (found < 0 || (found == 1 && (port == 0 || port > UINT16_MAX))) {
		call__refuse(call, "port");
		return;
	}
	if (found == 1)
		set_port(connect, (uint16_t)port);
	else if (take_path(connect, request))
		return;
	attempt(connect);
}

static void event(struct call *call, struct span ev, const CborValue *message)
{
	(void)message;
	if (span__equals(ev, "abort"))
		call__fail(call, ECANCELED, "%s: given up by the host", container_of(call, struct connect, call)->name);
}

static void release(struct call *call)
{
	struct connect *connect = container_of(call, struct connect, call);
	loop__timer_cancel(loop_of(connect), connect->again);
	close_socket(connect);
}

const struct operation operation__connect = {
	.op = "connect",
	.size = sizeof(struct connect),
	.passive = true,
	.start = start,
	.event = event,
	.release = release,
};
