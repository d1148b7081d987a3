/* The gate: forged and broken frames are dropped, names go to the resolver, and the rest is for the policy to decide.
 */
#include "net/gate.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/flows.h"
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
	struct flows *flows;
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

static void tell_of_name(void *arg, const char *name, const struct address *address, const char *why)
{
	struct gate *gate = arg;
	struct gate_notice notice = {.protocol = "dns", .name = name, .why = why};
	gate->refused += why != NULL;
	if (address) {
		address__print(address, notice.address);
		notice.inside = address__is_inside(address);
	}
	if (!is_news(gate, &notice))
		return;
	const struct policy_rule *rule = policy__match_question(gate->options.egress->policy, name);
	if (address && !address__is_local(address))
		snprintf(notice.allow, sizeof(notice.allow), address__is4(address) ? "%s" : "[%s]", notice.address);
	else if (!address && (rule->allow || policy_rule__yields(rule)))
		snprintf(notice.allow, sizeof(notice.allow), "%s", name);
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

/* TCP: what belongs to a connection passes, and what begins one may have to ask */

static const uint8_t gateway_mac[PACKET_MAC] = {0x52, 0x55}; /* any but the guest's; neither side looks at it */

static const struct address *guest_of(const struct gate *gate, const struct flow *flow)
{
	return &gate->options.egress->addresses->guest[address__is4(&flow->peer) ? 0 : 1];
}

/* As far as the host's side is concerned the guest has reset it. Not while a frame of that side is under way. */
static void reset_host(struct gate *gate, const struct flow *flow)
{
	const struct packet from_host = {
		.to_mac = gate->options.egress->addresses->mac,
		.from_mac = gateway_mac,
		.source = flow->peer,
		.destination = *guest_of(gate, flow),
		.source_port = flow->peer_port,
		.destination_port = flow->guest_port,
	};
	size_t len = packet__reset_at(&from_host, flow->host_next, gate->frame);
	gate->options.pass(gate->options.arg, gate->frame, len);
}

static void reset_guest(struct gate *gate, const struct flow *flow)
{
	const struct packet from_guest = {
		.to_mac = gateway_mac,
		.from_mac = gate->options.egress->addresses->mac,
		.source = *guest_of(gate, flow),
		.destination = flow->peer,
		.source_port = flow->guest_port,
		.destination_port = flow->peer_port,
	};
	size_t len = packet__reset_at(&from_guest, flow->guest_next, gate->frame);
	gate->options.answer(gate->options.arg, gate->frame, len);
}

/* What the host's side says to a reset may be about the connection as well: it is taken out of the table first. */
static struct flow take_out(struct gate *gate, struct flow *flow)
{
	struct flow taken = *flow;
	flows__remove(gate->flows, flow);
	return taken;
}

static unsigned count(const struct gate *gate)
{
	return flows__count(gate->flows) + datagrams__count(gate->datagrams);
}

/* Of datagrams the way that was silent for longest makes room, as whoever sends them bears their loss. */
static bool make_room(struct gate *gate)
{
	return count(gate) < gate->options.max_connections || datagrams__make_room(gate->datagrams);
}

static bool has_room(struct gate *gate, const struct packet *packet)
{
	unsigned most = gate->options.max_connections;
	if (make_room(gate))
		return true;
	snprintf(gate->why, sizeof(gate->why), "%u connections are open, which is the limit", most);
	refuse(gate, packet, gate->why, NULL);
	return false;
}

/* A connection that was open until now has kept in use what led there. */
static void mark_end(struct gate *gate, const struct packet *packet, const struct flow *flow)
{
	if (packet->flags & (TH_FIN | TH_RST))
		policy__used(gate->options.egress->policy, &flow->peer, gate->options.now());
}

/* A segment that begins a connection: whether it may pass. */
static bool begin(struct gate *gate, const struct packet *packet, struct flow *known)
{
	if (!may_leave(gate, packet))
		return false;
	if (known && known->state != FLOW_CLOSED) /* said again */
		return true;
	if (known)
		flows__remove(gate->flows, known);
	if (!has_room(gate, packet))
		return false;
	if (flows__add(gate->flows, packet, false))
		return true;
	/* the table is full of those that are over; the host's side should know as well */
	struct flow old = take_out(gate, flows__oldest_closed(gate->flows));
	reset_host(gate, &old);
	return flows__add(gate->flows, packet, false) != NULL;
}

/* The guest's reset may carry any number; the host's side is told with the one that it goes by. While it connects it
 * would not listen: the connection then ends when that does. */
static void end(struct gate *gate, const uint8_t *frame, size_t len, struct flow *flow)
{
	if (flow->state == FLOW_OPENING && flow->by_guest)
		return;
	struct flow ended = take_out(gate, flow);
	if (ended.state == FLOW_OPENING)
		gate->options.pass(gate->options.arg, frame, len);
	else
		reset_host(gate, &ended);
}

static void segment_from_guest(struct gate *gate, const uint8_t *frame, size_t len, const struct packet *packet)
{
	struct flow *flow = flows__find(gate->flows, packet, false);
	if (packet->opens) {
		if (!begin(gate, packet, flow))
			return;
		flow = flows__find(gate->flows, packet, false);
	} else if (!flow) {
		if (!(packet->flags & TH_RST))
			gate->options.answer(gate->options.arg, gate->frame, packet__reset(packet, gate->frame));
		return;
	} else if (packet->flags & TH_RST) {
		mark_end(gate, packet, flow);
		end(gate, frame, len, flow);
		return;
	}
	mark_end(gate, packet, flow);
	flows__saw(gate->flows, flow, packet, false, gate->options.now());
	gate->options.pass(gate->options.arg, frame, len);
}

static bool segment_to_guest(struct gate *gate, const struct packet *packet)
{
	struct flow *flow = flows__find(gate->flows, packet, true);
	if (packet->opens && flow && flow->state == FLOW_CLOSED) {
		flows__remove(gate->flows, flow);
		flow = NULL;
	}
	if (packet->opens && !flow && make_room(gate)) /* a published port's; without room it is said again later */
		flow = flows__add(gate->flows, packet, true);
	if (!flow)
		return false;
	mark_end(gate, packet, flow);
	if (packet->flags & TH_RST)
		flows__remove(gate->flows, flow);
	else
		flows__saw(gate->flows, flow, packet, true, gate->options.now());
	return true;
}

void gate__recheck(struct gate *gate)
{
	for (struct flow *flow = flows__each(gate->flows, NULL); flow; flow = flows__each(gate->flows, flow)) {
		if (!flow->by_guest || egress__may_stay(gate->options.egress, &flow->peer, flow->peer_port))
			continue;
		struct flow cut = take_out(gate, flow);
		/* one that is opening hears of it when it asks again, and ends for the host with its connecting */
		if (cut.state == FLOW_OPENING)
			continue;
		reset_guest(gate, &cut);
		reset_host(gate, &cut);
	}
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
		segment_from_guest(gate, frame, len, packet);
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

bool gate__to_guest(struct gate *gate, const uint8_t *frame, size_t len)
{
	const struct gate_options *options = &gate->options;
	struct packet packet;
	if (packet__parse(frame, len, &packet)) { /* of the host's side: errors, advertisements */
		bool fragment = packet.fragment;
		struct flow *flow =
			packet__quoted(frame, len, &packet) ? flows__find(gate->flows, &packet, false) : NULL;
		if (flow && flow->state == FLOW_OPENING) /* it cannot be had */
			flows__remove(gate->flows, flow);
		return !fragment;
	}
	if (packet.kind == PACKET_TCP)
		return segment_to_guest(gate, &packet);
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

unsigned gate__servers(const struct gate *gate, struct address servers[RESOLVER_SERVERS])
{
	return resolver__servers(gate->resolver, servers);
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
		.server_count = options->server_count,
		.source = options->source,
		.now = options->now,
		.answer = answer,
		.told = tell_of_name,
		.arg = gate,
	};
	memcpy(resolver.servers, options->servers, sizeof(resolver.servers));
	const struct datagrams_options datagrams = {
		.egress = options->egress,
		.loop = options->loop,
		.now = options->now,
		.send = options->send,
		.hang_up = options->hang_up,
		.answer = options->answer,
		.arg = options->arg,
	};
	int err = flows__new(gate->options.max_connections, &gate->flows);
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
	flows__free(gate->flows);
	free(gate);
}
