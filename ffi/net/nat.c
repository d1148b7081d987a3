/*
 * The guest's network by libslirp, on the loop of the device's worker. Why libslirp: it is a library, so that the gate
 * sees each packet on its way in; it needs no right on any system, macOS included; distributions keep it up for QEMU
 * and Podman. passt is faster per connection, but a program of its own, for Linux only, and without a place for a
 * policy. What makes libslirp slow is the count of packets: with frames of 64 KiB there are few.
 */
#include "net/nat.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/clock.h"
#include "common/errno_name.h"
#include "net/datagram_sockets.h"
#include "net/own.h"
#include "net/publish.h"
#include "net/stream_sockets.h"
#include "net/throttle.h"

#define NO_TIMEOUT UINT32_MAX
#define BUFFER_BYTES (128 * 1024) /* of a connection's two in libslirp, before it rounds them up */

/* A socket of libslirp's, by its descriptor. */
struct watch {
	bool added;      /* to the loop */
	unsigned round;  /* of asking libslirp in which it was named last */
	unsigned wanted; /* LOOP_*, that libslirp waits for */
	int ready;       /* SLIRP_POLL_* */
};

struct nat {
	struct nat_options options;
	struct virtio_device *dev;
	struct loop *loop; /* NULL while the driver is not ready */
	Slirp *slirp;
	struct own *own;
	struct policy *policy;
	struct egress egress;
	struct gate *gate; /* NULL while the driver is not ready, and so are these */
	struct datagram_sockets *datagrams;
	struct nat_counters counters; /* but for what the gate counts now */
	struct throttle from_guest, to_guest;
	struct service_opener opener;
	uint64_t turn;     /* timer of the turn that was asked for; 0: none */
	uint64_t patience; /* timer of libslirp's own clock */
	unsigned round;
	struct watch *watches; /* by descriptor */
	int watch_count;
	int opened;                /* the last of libslirp's sockets, for what was under way; -1: none */
	bool resets;               /* the guest does: the peer is to hear of it */
	int *named, *named_before; /* descriptors, as libslirp named them last, and the time before */
	unsigned named_count, before_count, named_room;
};

static uint64_t now_ms(void)
{
	return monotonic_ns() / 1000000;
}

/* Sockets */

static void on_turn(void *arg);

/* After what is under way: libslirp is told of everything at once. What the guest has had too much of is not read from
 * its sockets for a while, so that who sends it slows down. */
static void ask_for_turn(struct nat *nat)
{
	if (nat->loop && !nat->turn &&
	    loop__timer(nat->loop, throttle__wait(&nat->to_guest, monotonic_ns()), on_turn, nat, &nat->turn) < 0)
		nat->turn = 0;
}

/*
 * An error is told as both, though only one is waited for. Where it is one that might pass, "no route to host" say, the
 * kernel goes on connecting; libslirp takes that for a connection that is there, and the guest would wait until it
 * gives up. To end it is what tells it.
 */
static void end_if_broken(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error)
		shutdown(fd, SHUT_RDWR);
}

static void on_socket(void *arg, int fd, unsigned ready)
{
	struct nat *nat = arg;
	if ((ready & LOOP_READ) && nat->watches[fd].wanted == LOOP_WRITE)
		end_if_broken(fd);
	ready &= nat->watches[fd].wanted;
	nat->watches[fd].ready |= (ready & LOOP_READ ? SLIRP_POLL_IN : 0) | (ready & LOOP_WRITE ? SLIRP_POLL_OUT : 0);
	ask_for_turn(nat);
	if (throttle__wait(&nat->to_guest, monotonic_ns())) { /* it would be told again and again until then */
		loop__del(nat->loop, fd);
		nat->watches[fd].added = false;
	}
}

static bool make_room(struct nat *nat, int fd)
{
	if (fd >= nat->watch_count) {
		int count = fd + 64;
		struct watch *watches = realloc(nat->watches, (size_t)count * sizeof(*watches));
		if (!watches)
			return false;
		memset(watches + nat->watch_count, 0, (size_t)(count - nat->watch_count) * sizeof(*watches));
		nat->watches = watches;
		nat->watch_count = count;
	}
	if (nat->named_count == nat->named_room) {
		unsigned room = nat->named_room ? 2 * nat->named_room : 64;
		int *named = realloc(nat->named, room * sizeof(*named));
		if (named)
			nat->named = named;
		int *before = realloc(nat->named_before, room * sizeof(*before));
		if (before)
			nat->named_before = before;
		if (!named || !before)
			return false;
		nat->named_room = room;
	}
	return true;
}

static void unwatch(struct nat *nat, int fd)
{
	if (fd < 0 || fd >= nat->watch_count || !nat->watches[fd].added)
		return;
	loop__del(nat->loop, fd);
	nat->watches[fd] = (struct watch){.added = false};
}

/* libslirp names a socket and what it waits for; -1 tells it that this one cannot be waited for. */
static int add_poll(int fd, int events, void *opaque)
{
	struct nat *nat = opaque;
	unsigned wanted = (events & SLIRP_POLL_IN ? LOOP_READ : 0U) | (events & SLIRP_POLL_OUT ? LOOP_WRITE : 0U);
	if (fd < 0 || !make_room(nat, fd))
		return -1;
	struct watch *watch = &nat->watches[fd];
	if (!wanted ||
	    (watch->added ? loop__mod(nat->loop, fd, wanted) : loop__add(nat->loop, fd, wanted, on_socket, nat)) < 0)
		return -1;
	*watch = (struct watch){.added = true, .round = nat->round, .wanted = wanted};
	nat->named[nat->named_count] = fd;
	return (int)nat->named_count++;
}

static int ready_events(int index, void *opaque)
{
	struct nat *nat = opaque;
	if (index < 0 || (unsigned)index >= nat->named_count)
		return 0;
	struct watch *watch = &nat->watches[nat->named[index]];
	int ready = watch->ready;
	watch->ready = 0;
	return ready;
}

/* Wait for exactly what libslirp names: a socket it does not name may be at its end, and would wake the loop for ever.
 */
static void watch_sockets(struct nat *nat)
{
	uint32_t timeout = NO_TIMEOUT;
	int *before = nat->named;
	nat->named = nat->named_before;
	nat->named_before = before;
	nat->before_count = nat->named_count;
	nat->named_count = 0;
	nat->round++;
	slirp_pollfds_fill(nat->slirp, &timeout, add_poll, nat);
	for (unsigned i = 0; i < nat->before_count; i++)
		if (nat->watches[nat->named_before[i]].round != nat->round)
			unwatch(nat, nat->named_before[i]);
	loop__timer_cancel(nat->loop, nat->patience);
	nat->patience = 0;
	if (timeout != NO_TIMEOUT && loop__timer(nat->loop, timeout, on_turn, nat, &nat->patience) < 0)
		nat->patience = 0;
}

static void on_turn(void *arg)
{
	struct nat *nat = arg;
	loop__timer_cancel(nat->loop, nat->turn);
	loop__timer_cancel(nat->loop, nat->patience);
	nat->turn = nat->patience = 0;
	if (throttle__wait(&nat->to_guest, monotonic_ns())) { /* libslirp's own clock, or more was sent meanwhile */
		ask_for_turn(nat);
		return;
	}
	slirp_pollfds_poll(nat->slirp, 0, ready_events, nat);
	nat->opened = -1;
	watch_sockets(nat);
	virtio_net__flush(nat->dev);
}

/* What libslirp asks of its host */

static void give(struct nat *nat, const uint8_t *frame, size_t len)
{
	nat->counters.to_guest.frames++;
	nat->counters.to_guest.bytes += len;
	throttle__take(&nat->to_guest, len, monotonic_ns());
	virtio_net__receive(nat->dev, frame, len);
}

static ssize_t to_guest(const void *frame, size_t len, void *opaque)
{
	struct nat *nat = opaque;
	if (nat->gate && gate__to_guest(nat->gate, frame, len, nat->opened))
		give(nat, frame, len);
	return (ssize_t)len;
}

static void guest_error(const char *message, void *opaque)
{
	(void)message, (void)opaque;
}

static int64_t clock_ns(void *opaque)
{
	(void)opaque;
	return (int64_t)monotonic_ns();
}

/* Its one timer is for router advertisements: nobody waits for them, as the guest's addresses are given. Each would
 * wake an idle guest. */
static void *timer_new(SlirpTimerCb fn, void *arg, void *opaque)
{
	(void)fn, (void)arg;
	return opaque;
}

static void timer_free(void *timer, void *opaque)
{
	(void)timer, (void)opaque;
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	(void)timer, (void)expire_ms, (void)opaque;
}

static void register_fd(int fd, void *opaque)
{
	struct nat *nat = opaque;
	nat->opened = fd;
	stream_socket__keep_alive(fd);
}

/* Just before it is closed: another may soon have the same number. */
static void unregister_fd(int fd, void *opaque)
{
	struct nat *nat = opaque;
	unwatch(nat, fd);
	if (nat->resets)
		stream_socket__reset_at_close(fd);
}

static void notify(void *opaque)
{
	ask_for_turn(opaque);
}

static const SlirpCb callbacks = {
	.send_packet = to_guest,
	.guest_error = guest_error,
	.clock_get_ns = clock_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = register_fd,
	.unregister_poll_fd = unregister_fd,
	.notify = notify,
};

/* The gate's ways on */

static int pass(void *arg, const uint8_t *frame, size_t len)
{
	struct nat *nat = arg;
	nat->opened = -1;
	slirp_input(nat->slirp, frame, (int)len);
	ask_for_turn(nat);
	return nat->opened;
}

static void reset(void *arg, const uint8_t *frame, size_t len)
{
	struct nat *nat = arg;
	nat->resets = true;
	(void)pass(nat, frame, len);
	nat->resets = false;
}

/* libslirp waits for room to write to it. */
static bool is_busy(void *arg, int socket)
{
	const struct nat *nat = arg;
	return socket >= 0 && socket < nat->watch_count && (nat->watches[socket].wanted & LOOP_WRITE);
}

static bool is_broken(void *arg, int socket)
{
	(void)arg;
	return socket >= 0 && stream_socket__is_over(socket);
}

static void answer(void *arg, const uint8_t *frame, size_t len)
{
	struct nat *nat = arg;
	give(nat, frame, len);
	ask_for_turn(nat);
}

/* Datagrams have sockets of their own: libslirp would keep each for four minutes, as many as the guest likes */

static int send_datagram(void *arg, unsigned place, const struct packet *packet, const struct address *to)
{
	return datagram_sockets__send(((struct nat *)arg)->datagrams, place, packet, to);
}

static void hang_up(void *arg, unsigned place)
{
	datagram_sockets__hang_up(((struct nat *)arg)->datagrams, place);
}

static uint64_t wait_for_guest(void *arg)
{
	return throttle__wait(&((struct nat *)arg)->to_guest, monotonic_ns());
}

static void received(void *arg, unsigned place, const struct datagram *datagram)
{
	gate__received(((struct nat *)arg)->gate, place, datagram);
}

static void failed(void *arg, unsigned place, const struct datagram_error *error)
{
	gate__failed(((struct nat *)arg)->gate, place, error);
}

static void notice(void *arg, const struct gate_notice *what)
{
	struct nat *nat = arg;
	nat->options.notice(nat->options.arg, what);
}

/* To the guest's name server, by TCP. */
static int open_names(void *arg)
{
	struct nat *nat = arg;
	return nat->gate ? gate__open_name_stream(nat->gate) : -ECONNREFUSED;
}

/* The device's link */

static void link__transmit(void *arg, const uint8_t *frame, size_t len)
{
	struct nat *nat = arg;
	nat->counters.from_guest.frames++;
	nat->counters.from_guest.bytes += len;
	throttle__take(&nat->from_guest, len, monotonic_ns());
	gate__from_guest(nat->gate, frame, len);
}

static uint64_t link__wait(void *arg)
{
	struct nat *nat = arg;
	return nat->from_guest.rate ? throttle__wait(&nat->from_guest, monotonic_ns()) : 0;
}

static void link__down(void *arg)
{
	struct nat *nat = arg;
	for (int fd = 0; fd < nat->watch_count; fd++)
		unwatch(nat, fd);
	nat->named_count = 0;
	loop__timer_cancel(nat->loop, nat->turn);
	loop__timer_cancel(nat->loop, nat->patience);
	nat->turn = nat->patience = 0;
	nat->counters.refused += gate__counts(nat->gate).refused;
	gate__free(nat->gate);
	datagram_sockets__free(nat->datagrams);
	nat->gate = NULL;
	nat->datagrams = NULL;
	nat->loop = NULL;
}

static int link__up(void *arg)
{
	struct nat *nat = arg;
	const struct nat_options *options = &nat->options;
	struct gate_options gate = {
		.egress = &nat->egress,
		.max_connections = options->max_connections,
		.servers = options->servers,
		.source = options->source,
		.names = options->names,
		.loop = nat->dev->loop,
		.now = now_ms,
		.pass = pass,
		.reset = reset,
		.is_busy = is_busy,
		.is_broken = is_broken,
		.send = send_datagram,
		.hang_up = hang_up,
		.answer = answer,
		.notice = notice,
		.arg = nat,
	};
	service_sockets__use(&nat->opener);
	for (unsigned i = 0; i < options->publish.count; i++)
		if (options->publish.at[i].protocol == POLICY_UDP)
			gate.published[gate.published_count++] = options->publish.at[i].guest_port;
	const struct datagram_sockets_options datagrams = {
		.loop = nat->dev->loop,
		.wait = wait_for_guest,
		.received = received,
		.failed = failed,
		.arg = nat,
	};
	int err = datagram_sockets__new(&datagrams, &nat->datagrams);
	if (!err)
		err = gate__new(&gate, &nat->gate);
	if (err) {
		datagram_sockets__free(nat->datagrams);
		nat->datagrams = NULL;
		return err;
	}
	nat->loop = nat->dev->loop;
	ask_for_turn(nat);
	return 0;
}

static void nat__free(struct nat *nat)
{
	if (nat->slirp)
		slirp_cleanup(nat->slirp);
	policy__free(nat->policy);
	own__free(nat->own);
	free(nat->watches);
	free(nat->named);
	free(nat->named_before);
	free(nat);
}

static void link__destroy(void *arg)
{
	nat__free(arg);
}

/* Making */

static struct in_addr as4(const struct address *address)
{
	struct in_addr in;
	memcpy(&in, address->bytes + 12, sizeof(in));
	return in;
}

static struct in6_addr as6(const struct address *address)
{
	struct in6_addr in6;
	memcpy(&in6, address->bytes, sizeof(in6));
	return in6;
}

static bool publishes_udp(const struct nat_options *options)
{
	for (unsigned i = 0; i < options->publish.count; i++)
		if (options->publish.at[i].protocol == POLICY_UDP)
			return true;
	return false;
}

static Slirp *make_slirp(struct nat *nat)
{
	const struct net_addresses *known = &nat->options.addresses;
	unsigned bits = known->network[0].bits - 96;
	const SlirpConfig config = {
		.version = 4,
		.in_enabled = true,
		.vnetwork = as4(&known->network[0].address),
		.vnetmask = {.s_addr = htonl(bits ? UINT32_MAX << (32 - bits) : 0)},
		.vhost = as4(&known->host[0]),
		.vdhcp_start = as4(&known->guest[0]),
		.vnameserver = as4(&known->name_server[0]),
		.in6_enabled = true,
		.vprefix_addr6 = as6(&known->network[1].address),
		.vprefix_len = (uint8_t)known->network[1].bits,
		.vhost6 = as6(&known->host[1]),
		.vnameserver6 = as6(&known->name_server[1]),
		.if_mtu = nat->options.mtu,
		.if_mru = nat->options.mtu,
		/* the gate decides this; a second wall where it is not in the way of answers to published UDP ports */
		.disable_host_loopback = !nat->options.host_loopback && !publishes_udp(&nat->options),
		.disable_dns = true, /* the gate has a name server of its own */
	};
	return slirp_new(&config, &callbacks, nat);
}

/* libslirp connects a stream of the guest to the socket when it has come about. */
static int add_services(struct nat *nat)
{
	for (unsigned i = 0; i < nat->egress.services.count; i++) {
		const struct service *service = &nat->egress.services.at[i];
		struct in_addr address = as4(&service->address);
		char path[sizeof(SERVICE_SOCKET) + 10];
		snprintf(path, sizeof(path), SERVICE_SOCKET, i);
		if (slirp_add_unix(nat->slirp, path, &address, service->port) < 0)
			return -EINVAL;
	}
	return 0;
}

int nat__replace_rules(struct nat *nat, const struct policy_rule *rules, unsigned count, bool otherwise)
{
	int err = policy__replace(nat->policy, rules, count, otherwise);
	if (!err && nat->gate) {
		gate__recheck(nat->gate);
		virtio_net__flush(nat->dev);
	}
	return err;
}

struct nat_counters nat__counters(const struct nat *nat)
{
	struct nat_counters counters = nat->counters;
	if (nat->gate) {
		struct gate_counts now = gate__counts(nat->gate);
		counters.refused += now.refused;
		counters.connections = now.connections;
	}
	return counters;
}

const struct name_servers *nat__servers(const struct nat *nat)
{
	return nat->gate ? gate__servers(nat->gate) : &nat->options.servers;
}

const struct egress *nat__egress(const struct nat *nat)
{
	return &nat->egress;
}

static int make_policy(struct nat *nat)
{
	const struct nat_options *options = &nat->options;
	const struct policy_own own = {own__holds, nat->own};
	int err = policy__new(options->rules.at, options->rules.count, options->otherwise, &own, &nat->policy);
	nat->egress = (struct egress){.addresses = &options->addresses,
				      .policy = nat->policy,
				      .host_loopback = options->host_loopback,
				      .services = options->services};
	return err;
}

static int make_network(struct nat *nat, struct failure *why)
{
	int err = own__new(&nat->own);
	if (err)
		return failure__set(why, -err, NULL, OWN_UNKNOWN, errno_name(-err));
	err = make_policy(nat);
	if (!err) {
		nat->slirp = make_slirp(nat);
		err = nat->slirp ? add_services(nat) : -EINVAL;
	}
	return err ? failure__set(why, -err, NULL, "the network cannot be made (%s)", errno_name(-err)) : 0;
}

int nat__new(const struct nat_options *options, struct virtio_device **out, struct failure *why)
{
	static const struct virtio_net_link link = {.up = link__up,
						    .down = link__down,
						    .transmit = link__transmit,
						    .wait = link__wait,
						    .destroy = link__destroy};
	struct nat *nat = calloc(1, sizeof(*nat));
	if (!nat)
		return failure__set(why, ENOMEM, NULL, "no memory for the network");
	/* libslirp makes each buffer larger once it knows the guest's segments. In a heap that copies all of it, so
	 * that it is touched, and keeps what is freed: a quarter of a MiB of each connection. The kernel moves and
	 * takes back mappings, of which only what was used is there. */
	mallopt(M_MMAP_THRESHOLD, BUFFER_BYTES);
	nat->options = *options;
	nat->opened = -1;
	nat->opener = options->opener;
	nat->opener.names = as4(&options->addresses.name_server[0]);
	nat->opener.open_names = open_names;
	nat->opener.names_owner = nat;
	nat->from_guest.rate = nat->to_guest.rate = options->bandwidth;
	nat->counters.max_connections = options->max_connections ? options->max_connections : GATE_CONNECTIONS;
	int err = make_network(nat, why);
	for (unsigned i = 0; !err && i < options->publish.count; i++)
		err = publish__bind(nat->slirp, &nat->options.addresses, &options->publish.at[i], why);
	struct virtio_net_options device = {.mtu = options->mtu, .link = &link, .arg = nat};
	memcpy(device.mac, options->addresses.mac, sizeof(device.mac));
	if (!err) {
		err = virtio_net__new(&device, &nat->dev);
		if (err)
			(void)!failure__set(why, -err, NULL, "the net device cannot be made");
	}
	if (err) {
		nat__free(nat);
		return err;
	}
	*out = nat->dev;
	return 0;
}

struct nat *nat__behind(struct virtio_device *dev)
{
	return virtio_net__arg(dev);
}
