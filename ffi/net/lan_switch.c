/* One member's switch: ports to the others, a table of who is behind which, and answers to what else a guest asks of a
 * cable. No frame is passed on from one port to another. */
#include "net/lan_switch.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "net/egress.h"
#include "net/lan_hello.h"
#include "net/packet.h"

#define QUERY_MAX 512  /* of a query about one name (RFC 1035 section 4.2.1) */
#define TURN_MAX 64    /* frames of one port before other sources of the loop have their turn */
#define PATIENCE_MS 50 /* with a member that takes nothing, before what is for it is dropped */

/* Of whatever on the cable is no guest: the name server. */
static const uint8_t our_mac[PACKET_MAC] = {0x52, 0x55};

struct port {
	struct lan_switch *lan;
	int fd;       /* -1: free */
	bool greeted; /* the member is known */
	bool stuck;   /* it was waited for in vain */
	struct lan_member member;
};

struct lan_switch {
	struct lan_switch_options options;
	struct loop *loop; /* NULL while nothing is to be taken from ports */
	struct port ports[LAN_PEERS];
	struct port *held_for; /* the frame that waits until this one takes more; NULL: none does */
	uint64_t held_since;   /* milliseconds */
	size_t held_len;
	uint8_t held[PACKET_MAX];
	uint8_t received[PACKET_MAX + 1]; /* one more: of a frame that is too long it is seen */
	uint8_t answer[PACKET_MAX];
	uint8_t message[QUERY_MAX + NAMES_ROOM];
};

static uint64_t now_ms(void)
{
	return monotonic_ns() / 1000000;
}

/* Ports */

static void close_port(struct port *port)
{
	struct lan_switch *lan = port->lan;
	if (port->fd < 0)
		return;
	if (lan->loop)
		loop__del(lan->loop, port->fd);
	close(port->fd);
	if (lan->held_for == port)
		lan->held_for = NULL;
	if (port->greeted)
		names__remove(lan->options.names, port->member.address);
	*port = (struct port){.lan = lan, .fd = -1};
}

/* Whoever comes later with the same address takes the place of one whose end has not been seen yet. */
static void greet(struct port *port, const struct lan_member *member)
{
	struct lan_switch *lan = port->lan;
	for (unsigned i = 0; i < LAN_PEERS; i++) {
		const struct lan_member *other = &lan->ports[i].member;
		if (lan->ports[i].greeted && (memcmp(other->mac, member->mac, PACKET_MAC) == 0 ||
					      address__equal(&other->address[0], &member->address[0]) ||
					      address__equal(&other->address[1], &member->address[1])))
			close_port(&lan->ports[i]);
	}
	port->member = *member;
	port->greeted = true;
	names__add(lan->options.names, member->name, member->address);
}

static bool is_self(const struct lan_switch *lan, const struct lan_member *member)
{
	const struct lan_member *self = &lan->options.self;
	return memcmp(self->mac, member->mac, PACKET_MAC) == 0 || egress__is(&member->address[0], self->address) ||
	       egress__is(&member->address[1], self->address) ||
	       egress__is(&member->address[0], lan->options.name_server) ||
	       egress__is(&member->address[1], lan->options.name_server);
}

static struct port *free_port(struct lan_switch *lan)
{
	for (unsigned i = 0; i < LAN_PEERS; i++)
		if (lan->ports[i].fd < 0)
			return &lan->ports[i];
	return NULL;
}

static struct port *port_of(struct lan_switch *lan, const uint8_t mac[PACKET_MAC])
{
	for (unsigned i = 0; i < LAN_PEERS; i++)
		if (lan->ports[i].greeted && memcmp(lan->ports[i].member.mac, mac, PACKET_MAC) == 0)
			return &lan->ports[i];
	return NULL;
}

/* To the guest */

/* Whether the member at this port may say that to the guest: from itself, to the guest, and no more than guests have to
 * say to each other. */
static bool may_come(const struct port *port, const uint8_t *frame, size_t len)
{
	const struct lan_member *self = &port->lan->options.self;
	struct packet packet;
	const char *wrong = packet__parse(frame, len, &packet);
	if (wrong ? !packet__is_icmp_answer(&packet)
		  : packet.kind != PACKET_TCP && packet.kind != PACKET_UDP && packet.kind != PACKET_ECHO)
		return false;
	unsigned family = address__is4(&packet.source) ? 0 : 1;
	return memcmp(packet.from_mac, port->member.mac, PACKET_MAC) == 0 &&
	       memcmp(packet.to_mac, self->mac, PACKET_MAC) == 0 &&
	       address__equal(&packet.source, &port->member.address[family]) &&
	       address__equal(&packet.destination, &self->address[family]);
}

static void take_message(struct port *port, size_t len)
{
	struct lan_switch *lan = port->lan;
	struct lan_member member;
	if (port->greeted) {
		if (len < sizeof(lan->received) && may_come(port, lan->received, len))
			lan->options.receive(lan->options.arg, lan->received, len);
	} else if (lan_hello__read(lan->received, len, lan->options.token, &member) && !is_self(lan, &member)) {
		greet(port, &member);
	} else {
		close_port(port);
	}
}

static void on_port(void *arg, int fd, unsigned ready)
{
	struct port *port = arg;
	struct lan_switch *lan = port->lan;
	(void)ready;
	for (unsigned i = 0; i < TURN_MAX && port->fd == fd; i++) {
		ssize_t n = recv(fd, lan->received, sizeof(lan->received), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) /* its VMM has ended */
			close_port(port);
		else
			take_message(port, (size_t)n);
	}
	lan->options.flush(lan->options.arg);
}

static int watch(struct port *port)
{
	return port->lan->loop ? loop__add(port->lan->loop, port->fd, LOOP_READ, on_port, port) : 0;
}

/* From the guest */

static void answer(struct lan_switch *lan, size_t len)
{
	lan->options.receive(lan->options.arg, lan->answer, len);
}

/* Without memory or room for it the frame is dropped, as on any cable. */
static void hold(struct lan_switch *lan, struct port *port, const uint8_t *frame, size_t len)
{
	lan->held_for = port;
	lan->held_since = now_ms();
	lan->held_len = len;
	memcpy(lan->held, frame, len);
}

/* Whether nothing more is to be done about the frame: it is sent, or the connection is at its end. */
static bool try_to_send(struct port *port, const uint8_t *frame, size_t len)
{
	if (send(port->fd, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return errno != EAGAIN && errno != ENOBUFS;
	port->stuck = false;
	return true;
}

static void deliver(struct lan_switch *lan, struct port *port, const uint8_t *frame, size_t len)
{
	if (!try_to_send(port, frame, len) && !port->stuck)
		hold(lan, port, frame, len);
}

/* Whether there is anybody of that address on the cable, and whose Ethernet address that is. */
static const uint8_t *mac_at(const struct lan_switch *lan, const struct address *address)
{
	if (egress__is(address, lan->options.name_server))
		return our_mac;
	for (unsigned i = 0; i < LAN_PEERS; i++)
		if (lan->ports[i].greeted && egress__is(address, lan->ports[i].member.address))
			return lan->ports[i].member.mac;
	return NULL;
}

static void answer_whereabouts(struct lan_switch *lan, const struct packet *packet)
{
	struct address target;
	const uint8_t *mac = packet__asks_for(packet, &target) ? mac_at(lan, &target) : NULL;
	if (mac)
		answer(lan, packet__here_is(packet, &target, mac, lan->answer));
}

static void answer_query(struct lan_switch *lan, const struct packet *packet)
{
	struct dns_question question;
	if (packet->payload_len > QUERY_MAX || !dns__is_query(packet->payload, packet->payload_len))
		return;
	memcpy(lan->message, packet->payload, packet->payload_len);
	enum dns_code wrong = dns__judge(lan->message, packet->payload_len, &question);
	size_t len =
		wrong ? dns__fail(lan->message, wrong) : names__answer(lan->options.names, lan->message, &question);
	if (!len)
		len = dns__deny(lan->message, &question, DNS_NO_SUCH_NAME);
	answer(lan, packet__reply(packet, lan->message, len, lan->answer));
}

/* To an address that is nobody's here: a program that hears of it need not wait. */
static void refuse(struct lan_switch *lan, const struct packet *packet)
{
	if (packet->kind == PACKET_TCP && !(packet->flags & TH_RST))
		answer(lan, packet__reset(packet, lan->answer));
	else if (packet->kind == PACKET_UDP || packet->kind == PACKET_ECHO)
		answer(lan, packet__prohibited(packet, lan->answer));
}

static void to_somebody(struct lan_switch *lan, const uint8_t *frame, size_t len, const struct packet *packet)
{
	unsigned family = address__is4(&packet->destination) ? 0 : 1;
	struct port *port = port_of(lan, packet->to_mac);
	if (packet->kind == PACKET_UDP && packet->destination_port == EGRESS_DNS_PORT &&
	    egress__is(&packet->destination, lan->options.name_server))
		answer_query(lan, packet);
	else if (port && address__equal(&packet->destination, &port->member.address[family]))
		deliver(lan, port, frame, len);
	else
		refuse(lan, packet);
}

void lan_switch__from_guest(struct lan_switch *lan, const uint8_t *frame, size_t len)
{
	const struct lan_member *self = &lan->options.self;
	struct packet packet;
	const char *wrong = packet__parse(frame, len, &packet);
	if ((wrong && !packet__is_icmp_answer(&packet)) || memcmp(packet.from_mac, self->mac, PACKET_MAC) != 0)
		return;
	if (packet.kind == PACKET_ARP || packet.kind == PACKET_NEIGHBOUR)
		answer_whereabouts(lan, &packet);
	else if (egress__is(&packet.source, self->address) && !(packet.to_mac[0] & 1))
		to_somebody(lan, frame, len, &packet);
}

/* The guest's next frame waits while one is held, and in its queue, so that it slows down and nothing is lost; but no
 * longer than any member may hold it up. */
uint64_t lan_switch__wait(struct lan_switch *lan)
{
	struct port *port = lan->held_for;
	if (!port)
		return 0;
	bool done = try_to_send(port, lan->held, lan->held_len);
	if (!done && now_ms() - lan->held_since < PATIENCE_MS)
		return 1;
	port->stuck = !done;
	lan->held_for = NULL;
	return 0;
}

/* The switch itself */

int lan_switch__new(const struct lan_switch_options *options, struct lan_switch **out)
{
	struct lan_switch *lan = calloc(1, sizeof(*lan));
	if (!lan)
		return -ENOMEM;
	lan->options = *options;
	for (unsigned i = 0; i < LAN_PEERS; i++)
		lan->ports[i] = (struct port){.lan = lan, .fd = -1};
	names__add(options->names, options->self.name, options->self.address);
	*out = lan;
	return 0;
}

void lan_switch__free(struct lan_switch *lan)
{
	for (unsigned i = 0; i < LAN_PEERS; i++)
		close_port(&lan->ports[i]);
	names__remove(lan->options.names, lan->options.self.address);
	free(lan);
}

int lan_switch__add(struct lan_switch *lan, int fd, const struct lan_member *member)
{
	struct port *port = free_port(lan);
	if (!port || (member && is_self(lan, member))) {
		close(fd);
		return port ? -EINVAL : -ENOSPC;
	}
	port->fd = fd;
	int err = watch(port);
	if (err)
		close_port(port);
	else if (member)
		greet(port, member);
	return err;
}

void lan_switch__watch(struct lan_switch *lan, struct loop *loop)
{
	lan->loop = loop;
	for (unsigned i = 0; i < LAN_PEERS; i++)
		if (lan->ports[i].fd >= 0 && watch(&lan->ports[i]))
			close_port(&lan->ports[i]);
}

void lan_switch__unwatch(struct lan_switch *lan)
{
	for (unsigned i = 0; i < LAN_PEERS && lan->loop; i++)
		if (lan->ports[i].fd >= 0)
			loop__del(lan->loop, lan->ports[i].fd);
	lan->held_for = NULL;
	lan->loop = NULL;
}
