/* The gate: forged and broken frames are dropped, names go to the resolver, and the rest is for the policy to decide.
 */
#include "net/gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/notices.h"

#define DHCP_CLIENT 68
#define DHCP_SERVER 67
#define PEERS 256      /* that talk to published UDP ports; the one silent for longest makes room */
#define PEER_MS 180000 /* how long the guest may answer one */

struct peer {
	struct address address;
	uint16_t port, guest_port;
	uint64_t seen; /* 0: unused */
};

struct gate {
	struct gate_options options;
	struct resolver *resolver;
	struct connections *connections;
	struct datagrams *datagrams;
	struct peer peers[PEERS];
	struct notices notices;
	uint64_t refused;
	char why[80];
	uint8_t frame[PACKET_MAX];
};

/* Telling */

/* Whether it is to be told; the last that is to be for a while is told as that instead. */
static bool is_news(struct gate *gate, const struct gate_notice *notice)
{
	const char *rest = NULL;
	bool news = notices__take(&gate->notices, notice, gate->options.now(), &rest);
	if (rest) {
		const struct gate_notice last = {.protocol = "frame", .why = rest};
		gate->options.notice(gate->options.arg, &last);
	}
	return news;
}

static const char *protocol_name(enum packet_kind kind)
{
	return kind == PACKET_TCP ? "tcp" : kind == PACKET_UDP ? "udp" : kind == PACKET_ECHO ? "icmp" : "frame";
}

static bool has_port(const struct packet *packet)
{
	return packet->kind == PACKET_TCP || packet->kind == PACKET_UDP;
}

/* "registry.example:443", "10.0.0.1:53/udp", "[fd00::1]:443", "10.0.0.1/icmp". What is refused for an address that lies
 * in the packet's needs a rule for that one. */
static void write_rule(struct gate_notice *notice, const struct packet *packet, const struct address *about)
{
	char address[ADDRESS_TEXT];
	address__print(about, address);
	bool named = notice->name && address__equal(about, &packet->destination);
	bool brackets = !named && has_port(packet) && strchr(address, ':');
	char port[16] = "/icmp";
	if (has_port(packet))
		snprintf(port, sizeof(port), ":%u%s", notice->port, packet->kind == PACKET_UDP ? "/udp" : "");
	snprintf(notice->allow, sizeof(notice->allow), "%s%s%s%s", brackets ? "[" : "", named ? notice->name : address,
		 brackets ? "]" : "", port);
}

/* `why` it was refused, NULL when it was not; `mend`: a rule for this address would allow it, NULL where none would. */
static void tell(struct gate *gate, const struct packet *packet, const char *why, const struct address *mend)
{
	static const struct address none;
	struct gate_notice notice = {.protocol = protocol_name(packet->kind), .why = why};
	gate->refused += why != NULL;
	if (!address__equal(&packet->destination, &none))
		address__print(&packet->destination, notice.address);
	if (has_port(packet))
		notice.port = packet->destination_port;
	notice.name = services__name_of(&gate->options.egress->services, &packet->destination);
	notice.inside = !notice.name && address__is_inside(&packet->destination);
	if (!notice.name)
		notice.name = policy__name_of(gate->options.egress->policy, &packet->destination);
	if (!is_news(gate, &notice))
		return;
	if (mend)
		write_rule(&notice, packet, mend);
	gate->options.notice(gate->options.arg, &notice);
}

/* The rule that would mend it, "" where none can: rules have no names of other bytes. */
static void write_name_rule(const struct gate *gate, struct gate_notice *notice, const struct resolver_news *news)
{
	const struct address *address = news->address;
	const struct policy_rule *rule = policy__match_question(gate->options.egress->policy, news->name);
	if (address && !address__is_local(address))
		snprintf(notice->allow, sizeof(notice->allow), address__is4(address) ? "%s" : "[%s]", notice->address);
	else if (!address && !news->failed && (rule->allow || policy_rule__yields(rule)) && *news->name &&
		 !strchr(news->name, '\\'))
		snprintf(notice->allow, sizeof(notice->allow), "%s", news->name);
}

static void tell_of_name(void *arg, const struct resolver_news *news)
{
	struct gate *gate = arg;
	struct gate_notice notice = {.protocol = "dns", .name = news->name, .why = news->why, .failed = news->failed};
	gate->refused += news->why != NULL && !news->failed;
	if (news->address) {
		address__print(news->address, notice.address);
		notice.inside = address__is_inside(news->address);
	}
	if (!is_news(gate, &notice))
		return;
	write_name_rule(gate, &notice, news);
	gate->options.notice(gate->options.arg, &notice);
}

/* Drop the packet, and tell both sides: a program that hears of it need not wait for nothing. */
static void refuse(struct gate *gate, const struct packet *packet, const char *why, const struct address *mend)
{
	tell(gate, packet, why, mend);
	if (packet->ip && packet->kind != PACKET_OTHER)
		gate->options.answer(gate->options.arg, gate->frame, packet__prohibited(packet, gate->frame));
}

/* Published UDP ports: the guest answers whoever asked. */

static struct peer *find_peer(struct gate *gate, const struct address *address, uint16_t port, uint16_t guest_port)
{
	for (unsigned i = 0; i < PEERS; i++) {
		struct peer *peer = &gate->peers[i];
		if (peer->seen && peer->port == port && peer->guest_port == guest_port &&
		    address__equal(&peer->address, address))
			return peer;
	}
	return NULL;
}

static void remember_peer(struct gate *gate, const struct packet *packet)
{
	struct peer *peer = find_peer(gate, &packet->source, packet->source_port, packet->destination_port);
	if (!peer) {
		peer = &gate->peers[0];
		for (unsigned i = 1; i < PEERS; i++)
			if (gate->peers[i].seen < peer->seen)
				peer = &gate->peers[i];
	}
	*peer = (struct peer){.address = packet->source,
			      .port = packet->source_port,
			      .guest_port = packet->destination_port,
			      .seen = gate->options.now() + 1};
}

static bool answers_peer(struct gate *gate, const struct packet *packet)
{
	const struct peer *peer = find_peer(gate, &packet->destination, packet->destination_port, packet->source_port);
	return peer && gate->options.now() + 1 - peer->seen < PEER_MS;
}

static bool is_published(const struct gate *gate, uint16_t port)
{
	for (unsigned i = 0; i < gate->options.published_count; i++)
		if (gate->options.published[i] == port)
			return true;
	return false;
}

/* From the guest */

static bool is_multicast(const struct address *address)
{
	return address__is4(address) ? address->bytes[12] >= 224 : address->bytes[0] == 0xff;
}

static bool is_link_local6(const struct address *address)
{
	return address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80;
}

static bool is_unspecified(const struct address *address)
{
	static const struct address none;
	static const uint8_t none4[4];
	struct address zero4 = address__from4(none4);
	return address__equal(address, &none) || address__equal(address, &zero4);
}

/* To anybody else these ports are ports like others. */
static bool is_dhcp(const struct gate *gate, const struct packet *packet)
{
	static const uint8_t all[4] = {255, 255, 255, 255};
	const struct address broadcast = address__from4(all);
	return packet->kind == PACKET_UDP && packet->source_port == DHCP_CLIENT &&
	       packet->destination_port == DHCP_SERVER &&
	       (address__equal(&packet->destination, &broadcast) ||
		address__equal(&packet->destination, &gate->options.egress->addresses->host[0]));
}

/* Whether the packet says truly who sent it. Whoever has no address yet may ask for one, and whether it is taken. */
static bool is_own(const struct gate *gate, const struct packet *packet)
{
	const struct net_addresses *known = gate->options.egress->addresses;
	if (memcmp(packet->from_mac, known->mac, PACKET_MAC) != 0)
		return false;
	if (egress__is(&packet->source, known->guest))
		return true;
	switch (packet->kind) {
	case PACKET_ARP:
		return is_unspecified(&packet->source);
	case PACKET_NEIGHBOUR:
		return is_unspecified(&packet->source) || is_link_local6(&packet->source);
	default:
		return is_dhcp(gate, packet) && is_unspecified(&packet->source);
	}
}

static enum policy_protocol protocol_of(const struct packet *packet)
{
	return packet->kind == PACKET_TCP ? POLICY_TCP : packet->kind == PACKET_UDP ? POLICY_UDP : POLICY_ICMP;
}

/* Whether it may go where it wants to; if not, or if the rule says so, that is told. */
static bool may_leave(struct gate *gate, const struct packet *packet)
{
	const struct egress_verdict verdict =
		egress__to_address(gate->options.egress, protocol_of(packet), &packet->destination,
				   packet->destination_port, gate->options.now());
	if (verdict.why)
		refuse(gate, packet, verdict.why, verdict.mend ? &verdict.about : NULL);
	else if (verdict.rule && verdict.rule->log)
		tell(gate, packet, NULL, &packet->destination);
	return !verdict.why;
}

/* Room, of which TCP and datagrams take from the same */

static unsigned count(const struct gate *gate)
{
	return connections__count(gate->connections) + datagrams__count(gate->datagrams);
}

/* Of datagrams the way that was silent for longest makes room, as whoever sends them bears their loss. */
static bool make_room(struct gate *gate)
{
	return count(gate) < gate->options.max_connections || datagrams__make_room(gate->datagrams);
}

static const char *why_no_room(struct gate *gate)
{
	snprintf(gate->why, sizeof(gate->why), "%u connections are open, which is the limit",
		 gate->options.max_connections);
	return gate->why;
}

static bool has_room(struct gate *gate, const struct packet *packet)
{
	bool room = make_room(gate);
	if (!room)
		refuse(gate, packet, why_no_room(gate), NULL);
	return room;
}

/* What TCP asks */

static bool connection_may_begin(void *arg, const struct packet *packet)
{
	return may_leave(arg, packet);
}

static bool connection_has_room(void *arg)
{
	return make_room(arg);
}

static void connection_refused(void *arg, const struct packet *packet, bool to_guest)
{
	struct gate *gate = arg;
	if (!to_guest)
		refuse(gate, packet, why_no_room(gate), NULL);
	else
		tell(gate, packet, why_no_room(gate), NULL);
}

/* Capsa has refused nothing, but whoever looks for the reason looks here. */
static void connection_unheard(void *arg, const struct packet *packet)
{
	struct gate *gate = arg;
	struct gate_notice notice = {.protocol = "tcp",
				     .why = "a port is published for this one, on which nothing in the sandbox listens",
				     .port = packet->source_port,
				     .inside = true};
	address__print(&packet->source, notice.address);
	if (is_news(gate, &notice))
		gate->options.notice(gate->options.arg, &notice);
}

void gate__recheck(struct gate *gate)
{
	connections__recheck(gate->connections);
}

/* From the guest, all of it */

static bool is_query(const struct gate *gate, const struct packet *packet)
{
	return packet->kind == PACKET_UDP && packet->destination_port == EGRESS_DNS_PORT &&
	       egress__is(&packet->destination, gate->options.egress->addresses->name_server);
}

/* What goes by a published port has its socket already, and the gateway answers echo requests itself. */
static bool needs_socket(const struct gate *gate, const struct packet *packet)
{
	if (packet->kind == PACKET_UDP)
		return !is_published(gate, packet->source_port);
	return !egress__is(&packet->destination, gate->options.egress->addresses->host);
}

static void datagram_from_guest(struct gate *gate, const uint8_t *frame, size_t len, const struct packet *packet)
{
	/* whoever has asked by way of a published port may be answered */
	if (!(packet->kind == PACKET_UDP && answers_peer(gate, packet)) && !may_leave(gate, packet))
		return;
	if (!needs_socket(gate, packet))
		gate->options.pass(gate->options.arg, frame, len);
	else if (datagrams__need_no_room(gate->datagrams, packet) || has_room(gate, packet))
		datagrams__send(gate->datagrams, packet);
}

static void to_somebody(struct gate *gate, const uint8_t *frame, size_t len, const struct packet *packet)
{
	if (packet->kind == PACKET_TCP)
		connections__from_guest(gate->connections, frame, len, packet);
	else if (is_query(gate, packet))
		resolver__ask(gate->resolver, packet);
	else
		datagram_from_guest(gate, frame, len, packet);
}

void gate__from_guest(struct gate *gate, const uint8_t *frame, size_t len)
{
	const struct gate_options *options = &gate->options;
	struct packet packet;
	const char *wrong = packet__parse(frame, len, &packet);
	if (wrong) {
		/* a network's small talk (IGMP, multicast listeners) is no news */
		if (!is_multicast(&packet.destination))
			tell(gate, &packet, wrong, NULL);
	} else if (!is_own(gate, &packet)) {
		tell(gate, &packet, "a forged sender", NULL);
	} else if (packet.kind == PACKET_ARP || packet.kind == PACKET_NEIGHBOUR || is_dhcp(gate, &packet)) {
		options->pass(options->arg, frame, len);
	} else if (!is_multicast(&packet.destination)) {
		to_somebody(gate, frame, len, &packet);
	}
}

/* To the guest */

bool gate__to_guest(struct gate *gate, const uint8_t *frame, size_t len, int socket)
{
	const struct gate_options *options = &gate->options;
	struct packet packet;
	if (packet__parse(frame, len, &packet)) { /* of the host's side: errors, advertisements */
		bool fragment = packet.fragment;
		if (packet__quoted(frame, len, &packet))
			connections__unreachable(gate->connections, &packet);
		return !fragment;
	}
	if (packet.kind == PACKET_TCP)
		return connections__to_guest(gate->connections, &packet, socket);
	if (packet.kind == PACKET_UDP && is_published(gate, packet.destination_port)) {
		remember_peer(gate, &packet);
		return true;
	}
	/* of datagrams that leaves DHCP's answers */
	return packet.kind != PACKET_UDP || egress__is(&packet.source, options->egress->addresses->host);
}

void gate__received(struct gate *gate, unsigned place, const struct datagram *datagram)
{
	datagrams__received(gate->datagrams, place, datagram);
}

void gate__failed(struct gate *gate, unsigned place, const struct datagram_error *error)
{
	datagrams__failed(gate->datagrams, place, error);
}

/* The gate itself */

static void answer(void *arg, const uint8_t *frame, size_t len)
{
	struct gate *gate = arg;
	gate->options.answer(gate->options.arg, frame, len);
}

static int pass(void *arg, const uint8_t *frame, size_t len)
{
	struct gate *gate = arg;
	return gate->options.pass(gate->options.arg, frame, len);
}

static void reset(void *arg, const uint8_t *frame, size_t len)
{
	struct gate *gate = arg;
	gate->options.reset(gate->options.arg, frame, len);
}

static bool is_busy(void *arg, int socket)
{
	struct gate *gate = arg;
	return gate->options.is_busy(gate->options.arg, socket);
}

static bool is_broken(void *arg, int socket)
{
	struct gate *gate = arg;
	return gate->options.is_broken(gate->options.arg, socket);
}

const struct name_servers *gate__servers(const struct gate *gate)
{
	return resolver__servers(gate->resolver);
}

int gate__open_name_stream(struct gate *gate)
{
	return resolver__open_stream(gate->resolver);
}

int gate__new(const struct gate_options *options, struct gate **out)
{
	struct gate *gate = calloc(1, sizeof(*gate));
	if (!gate)
		return -ENOMEM;
	gate->options = *options;
	if (!gate->options.max_connections)
		gate->options.max_connections = GATE_CONNECTIONS;
	struct resolver_options resolver = {
		.loop = options->loop,
		.policy = options->egress->policy,
		.names = options->names,
		.services = &options->egress->services,
		.servers = options->servers,
		.source = options->source,
		.now = options->now,
		.answer = answer,
		.told = tell_of_name,
		.arg = gate,
	};
	const struct datagrams_options datagrams = {
		.egress = options->egress,
		.loop = options->loop,
		.now = options->now,
		.send = options->send,
		.hang_up = options->hang_up,
		.answer = options->answer,
		.arg = options->arg,
	};
	const struct connections_options connections = {
		.egress = options->egress,
		.loop = options->loop,
		.most = gate->options.max_connections,
		.now = options->now,
		.may_begin = connection_may_begin,
		.has_room = connection_has_room,
		.refuse = connection_refused,
		.unheard = connection_unheard,
		.pass = pass,
		.reset = reset,
		.is_busy = is_busy,
		.is_broken = is_broken,
		.answer = answer,
		.arg = gate,
	};
	int err = connections__new(&connections, &gate->connections);
	if (!err)
		err = datagrams__new(&datagrams, &gate->datagrams);
	if (!err)
		err = resolver__new(&resolver, &gate->resolver);
	if (err) {
		gate__free(gate);
		return err;
	}
	*out = gate;
	return 0;
}

struct gate_counts gate__counts(const struct gate *gate)
{
	return (struct gate_counts){.refused = gate->refused, .connections = count(gate)};
}

void gate__free(struct gate *gate)
{
	if (!gate)
		return;
	resolver__free(gate->resolver);
	datagrams__free(gate->datagrams);
	connections__free(gate->connections);
	free(gate);
}
