/* TCP: what belongs to a connection passes, and what begins one may have to ask. */
#include "net/connections.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "net/flows.h"

struct connections {
	struct connections_options options;
	struct flows *flows;
	uint8_t frame[PACKET_MAX];
};

int connections__new(const struct connections_options *options, struct connections **out)
{
	struct connections *connections = calloc(1, sizeof(*connections));
	if (!connections)
		return -ENOMEM;
	connections->options = *options;
	int err = flows__new(options->most, &connections->flows);
	if (err) {
		free(connections);
		return err;
	}
	*out = connections;
	return 0;
}

void connections__free(struct connections *connections)
{
	if (!connections)
		return;
	flows__free(connections->flows);
	free(connections);
}

unsigned connections__count(const struct connections *connections)
{
	return flows__count(connections->flows);
}

/* Resets */

static const uint8_t gateway_mac[PACKET_MAC] = {0x52, 0x55}; /* any but the guest's; neither side looks at it */

static const struct address *guest_of(const struct connections *connections, const struct flow *flow)
{
	return &connections->options.egress->addresses->guest[address__is4(&flow->peer) ? 0 : 1];
}

/* As far as the host's side is concerned the guest has reset it. Not while a frame of that side is under way. */
static void reset_host(struct connections *connections, const struct flow *flow)
{
	const struct connections_options *options = &connections->options;
	const struct packet from_host = {
		.to_mac = options->egress->addresses->mac,
		.from_mac = gateway_mac,
		.source = flow->peer,
		.destination = *guest_of(connections, flow),
		.source_port = flow->peer_port,
		.destination_port = flow->guest_port,
	};
	size_t len = packet__reset_at(&from_host, flow->host_next, connections->frame);
	options->pass(options->arg, connections->frame, len);
}

static void reset_guest(struct connections *connections, const struct flow *flow)
{
	const struct connections_options *options = &connections->options;
	const struct packet from_guest = {
		.to_mac = gateway_mac,
		.from_mac = options->egress->addresses->mac,
		.source = *guest_of(connections, flow),
		.destination = flow->peer,
		.source_port = flow->guest_port,
		.destination_port = flow->peer_port,
	};
	size_t len = packet__reset_at(&from_guest, flow->guest_next, connections->frame);
	options->answer(options->arg, connections->frame, len);
}

/* What the host's side says to a reset may be about the connection as well: it is taken out of the table first. */
static struct flow take_out(struct connections *connections, struct flow *flow)
{
	struct flow taken = *flow;
	flows__remove(connections->flows, flow);
	return taken;
}

/* A connection that was open until now has kept in use what led there. */
static void mark_end(struct connections *connections, const struct packet *packet, const struct flow *flow)
{
	const struct connections_options *options = &connections->options;
	if (packet->flags & (TH_FIN | TH_RST))
		policy__used(options->egress->policy, &flow->peer, options->now());
}

/* From the guest */

/* A segment that begins a connection: whether it may pass. */
static bool begin(struct connections *connections, const struct packet *packet, struct flow *known)
{
	const struct connections_options *options = &connections->options;
	if (!options->may_begin(options->arg, packet))
		return false;
	if (known && known->state != FLOW_CLOSED) /* said again */
		return true;
	if (known)
		flows__remove(connections->flows, known);
	if (!options->has_room(options->arg)) {
		options->refuse(options->arg, packet);
		return false;
	}
	if (flows__add(connections->flows, packet, false))
		return true;
	/* the table is full of those that are over; the host's side should know as well */
	struct flow old = take_out(connections, flows__oldest_closed(connections->flows));
	reset_host(connections, &old);
	return flows__add(connections->flows, packet, false) != NULL;
}

/* The guest's reset may carry any number; the host's side is told with the one that it goes by. While it connects it
 * would not listen: the connection then ends when that does. */
static void end(struct connections *connections, const uint8_t *frame, size_t len, struct flow *flow)
{
	if (flow->state == FLOW_OPENING && flow->by_guest)
		return;
	struct flow ended = take_out(connections, flow);
	if (ended.state == FLOW_OPENING)
		connections->options.pass(connections->options.arg, frame, len);
	else
		reset_host(connections, &ended);
}

void connections__from_guest(struct connections *connections, const uint8_t *frame, size_t len,
			     const struct packet *packet)
{
	const struct connections_options *options = &connections->options;
	struct flow *flow = flows__find(connections->flows, packet, false);
	if (packet->opens) {
		if (!begin(connections, packet, flow))
			return;
		flow = flows__find(connections->flows, packet, false);
	} else if (!flow) {
		if (!(packet->flags & TH_RST))
			options->answer(options->arg, connections->frame, packet__reset(packet, connections->frame));
		return;
	} else if (packet->flags & TH_RST) {
		mark_end(connections, packet, flow);
		end(connections, frame, len, flow);
		return;
	}
	mark_end(connections, packet, flow);
	flows__saw(connections->flows, flow, packet, false, options->now());
	options->pass(options->arg, frame, len);
}

/* To the guest */

bool connections__to_guest(struct connections *connections, const struct packet *packet)
{
	const struct connections_options *options = &connections->options;
	struct flow *flow = flows__find(connections->flows, packet, true);
	if (packet->opens && flow && flow->state == FLOW_CLOSED) {
		flows__remove(connections->flows, flow);
		flow = NULL;
	}
	if (packet->opens && !flow && options->has_room(options->arg)) /* a published port's; said again later if not */
		flow = flows__add(connections->flows, packet, true);
	if (!flow)
		return false;
	mark_end(connections, packet, flow);
	if (packet->flags & TH_RST)
		flows__remove(connections->flows, flow);
	else
		flows__saw(connections->flows, flow, packet, true, options->now());
	return true;
}

void connections__unreachable(struct connections *connections, const struct packet *packet)
{
	struct flow *flow = flows__find(connections->flows, packet, false);
	if (flow && flow->state == FLOW_OPENING)
		flows__remove(connections->flows, flow);
}

void connections__recheck(struct connections *connections)
{
	struct flows *flows = connections->flows;
	for (struct flow *flow = flows__each(flows, NULL); flow; flow = flows__each(flows, flow)) {
		if (!flow->by_guest ||
		    egress__may_stay(connections->options.egress, &flow->peer, flow->peer_port))
			continue;
		struct flow cut = take_out(connections, flow);
		/* one that is opening hears of it when it asks again, and ends for the host with its connecting */
		if (cut.state == FLOW_OPENING)
			continue;
		reset_guest(connections, &cut);
		reset_host(connections, &cut);
	}
}
