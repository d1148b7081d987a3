/* TCP: what belongs to a connection passes, and what begins one may have to ask. */
#include "net/connections.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "net/flows.h"

#define LATER 16        /* resets for the host's side; what finds no place is said again, and so is its reset */
#define LATER_BYTES 128 /* more than the longest of them has */

struct connections {
	struct connections_options options;
	struct flows *flows;
	uint64_t look; /* timer; 0: none, as there are no connections */
	struct {
		size_t len;
		uint8_t frame[LATER_BYTES];
	} later[LATER];
	unsigned later_count;
	uint64_t later_timer;
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
	loop__timer_cancel(connections->options.loop, connections->look);
	loop__timer_cancel(connections->options.loop, connections->later_timer);
	flows__free(connections->flows);
	free(connections);
}

unsigned connections__count(const struct connections *connections)
{
	return flows__count(connections->flows);
}

/* A connection that was open until now has kept in use what led there. */
static void mark_end(struct connections *connections, const struct packet *packet, const struct flow *flow)
{
	const struct connections_options *options = &connections->options;
	if (packet->flags & (TH_FIN | TH_RST))
		policy__used(options->egress->policy, &flow->peer, options->now());
}

/* Segments of capsa's own */

static const uint8_t gateway_mac[PACKET_MAC] = {0x52, 0x55}; /* any but the guest's; neither side looks at it */

static const struct address *guest_of(const struct connections *connections, const struct flow *flow)
{
	return &connections->options.egress->addresses->guest[address__is4(&flow->peer) ? 0 : 1];
}

/* What either side could have sent: the answer goes to it. */
static struct packet from_host(const struct connections *connections, const struct flow *flow)
{
	return (struct packet){
		.to_mac = connections->options.egress->addresses->mac,
		.from_mac = gateway_mac,
		.source = flow->peer,
		.destination = *guest_of(connections, flow),
		.source_port = flow->peer_port,
		.destination_port = flow->guest_port,
	};
}

static struct packet from_guest(const struct connections *connections, const struct flow *flow)
{
	return (struct packet){
		.to_mac = gateway_mac,
		.from_mac = connections->options.egress->addresses->mac,
		.source = *guest_of(connections, flow),
		.destination = flow->peer,
		.source_port = flow->guest_port,
		.destination_port = flow->peer_port,
	};
}

/* As far as the host's side is concerned the guest has reset it. Not while a frame of that side is under way. A guest
 * that has said its last word is only gone, as it is to the peers of any kernel. */
static void reset_host(struct connections *connections, const struct flow *flow)
{
	const struct connections_options *options = &connections->options;
	const struct packet to = from_host(connections, flow);
	size_t len = packet__reset_at(&to, flow->host_next, connections->frame);
	if (flow->guest_ended)
		options->pass(options->arg, connections->frame, len);
	else
		options->reset(options->arg, connections->frame, len);
}

static void reset_guest(struct connections *connections, const struct flow *flow)
{
	const struct packet to = from_guest(connections, flow);
	size_t len = packet__reset_at(&to, flow->guest_next, connections->frame);
	connections->options.answer(connections->options.arg, connections->frame, len);
}

static void ask_guest(struct connections *connections, const struct flow *flow)
{
	const struct packet to = from_guest(connections, flow);
	size_t len = packet__keepalive(&to, flow->guest_next, flow->host_next, connections->frame);
	connections->options.answer(connections->options.arg, connections->frame, len);
}

/* What the host's side says to a reset may be about the connection as well: it is taken out of the table first. */
static struct flow take_out(struct connections *connections, struct flow *flow)
{
	struct flow taken = *flow;
	flows__remove(connections->flows, flow);
	return taken;
}

/* While a frame of the host's side is under way, resets for it wait until it is not */

static void give_later(void *arg)
{
	struct connections *connections = arg;
	const struct connections_options *options = &connections->options;
	connections->later_timer = 0;
	for (unsigned i = 0; i < connections->later_count; i++)
		options->reset(options->arg, connections->later[i].frame, connections->later[i].len);
	connections->later_count = 0;
}

/* The frame of `len` bytes at hand. False when there is no room for it. */
static bool keep_for_later(struct connections *connections, size_t len)
{
	unsigned place = connections->later_count;
	if (place == LATER || len > LATER_BYTES)
		return false;
	if (!connections->later_timer &&
	    loop__timer(connections->options.loop, 0, give_later, connections, &connections->later_timer) < 0) {
		connections->later_timer = 0;
		return false;
	}
	memcpy(connections->later[place].frame, connections->frame, len);
	connections->later[place].len = len;
	connections->later_count++;
	return true;
}

static bool reset_host_later(struct connections *connections, const struct flow *flow)
{
	const struct packet to = from_host(connections, flow);
	return keep_for_later(connections, packet__reset_at(&to, flow->host_next, connections->frame));
}

/* Those that are silent */

static void look_at(struct connections *connections, struct flow *flow, uint64_t now)
{
	uint64_t silent = now - flow->heard;
	if (flow->state == FLOW_OPENING && silent >= CONNECTION_OPENING_MS)
		flows__remove(connections->flows, flow);
	if (flow->state != FLOW_OPEN ||
	    silent < (flow->guest_ended || flow->host_ended ? CONNECTION_ENDING_MS : CONNECTION_IDLE_MS))
		return;
	flow->heard = now; /* no answer says nothing: a guest that stands still has what it had */
	ask_guest(connections, flow);
}

static void on_look(void *arg);

/* Without memory for the timer the next that begins makes one. */
static void look_soon(struct connections *connections)
{
	if (!connections->look &&
	    loop__timer(connections->options.loop, CONNECTIONS_LOOK_MS, on_look, connections, &connections->look) < 0)
		connections->look = 0;
}

static void on_look(void *arg)
{
	struct connections *connections = arg;
	struct flows *flows = connections->flows;
	connections->look = 0;
	for (struct flow *flow = flows__each(flows, NULL); flow; flow = flows__each(flows, flow))
		look_at(connections, flow, connections->options.now());
	if (flows__count(flows))
		look_soon(connections);
}

/* Something begins */

/* A place for it. The table may be full of those that are over: the host's side should know as well. */
static struct flow *add(struct connections *connections, const struct packet *packet, bool to_guest, int socket)
{
	uint64_t now = connections->options.now();
	look_soon(connections);
	struct flow *flow = flows__add(connections->flows, packet, to_guest, socket, now);
	if (flow)
		return flow;
	struct flow old = take_out(connections, flows__oldest_closed(connections->flows));
	if (!to_guest)
		reset_host(connections, &old);
	else
		(void)reset_host_later(connections, &old);
	return flows__add(connections->flows, packet, to_guest, socket, now);
}

/* From the guest */

/* A segment that begins a connection: that one, NULL when it may not pass. */
static struct flow *begin(struct connections *connections, const struct packet *packet, struct flow *known)
{
	const struct connections_options *options = &connections->options;
	if (!options->may_begin(options->arg, packet))
		return NULL;
	if (known && known->state != FLOW_CLOSED && known->first == packet->sequence) /* said again */
		return known;
	if (known) { /* the guest has the port for another, so it is over, which the host's side may not know */
		struct flow old = take_out(connections, known);
		reset_host(connections, &old);
	}
	if (options->has_room(options->arg))
		return add(connections, packet, false, -1);
	options->refuse(options->arg, packet, false);
	return NULL;
}

/* The guest's reset may carry any number; the host's side is told with the one that it goes by. While it connects it
 * would not listen: the connection then ends when that does. */
static void end(struct connections *connections, const uint8_t *frame, size_t len, struct flow *flow)
{
	const struct connections_options *options = &connections->options;
	if (flow->state == FLOW_OPENING && flow->by_guest)
		return;
	if (flow->guest_ended && options->is_busy(options->arg, flow->socket)) {
		flow->heard = options->now(); /* until it is asked for again */
		return;
	}
	struct flow ended = take_out(connections, flow);
	if (ended.state == FLOW_OPENING)
		options->reset(options->arg, frame, len);
	else
		reset_host(connections, &ended);
}

void connections__from_guest(struct connections *connections, const uint8_t *frame, size_t len,
			     const struct packet *packet)
{
	const struct connections_options *options = &connections->options;
	struct flow *flow = flows__find(connections->flows, packet, false);
	if (packet->opens) {
		flow = begin(connections, packet, flow);
		if (!flow)
			return;
	} else if (!flow) {
		if (!(packet->flags & TH_RST))
			options->answer(options->arg, connections->frame, packet__reset(packet, connections->frame));
		return;
	} else if (packet->flags & TH_RST) {
		mark_end(connections, packet, flow);
		if (flow->state == FLOW_OPENING && !flow->by_guest)
			options->unheard(options->arg, packet);
		end(connections, frame, len, flow);
		return;
	} else if (!flows__takes(connections->flows, flow, packet)) {
		return;
	}
	mark_end(connections, packet, flow);
	flows__saw(connections->flows, flow, packet, false, options->now());
	int socket = options->pass(options->arg, frame, len);
	if (!packet->opens || socket < 0)
		return;
	flow = flows__find(connections->flows, packet, false); /* it may have ended at once */
	if (flow)
		flow->socket = socket;
}

/* To the guest */

/* What comes by a published port. NULL when there is no room, which its client hears. */
static struct flow *let_in(struct connections *connections, const struct packet *packet, int socket)
{
	const struct connections_options *options = &connections->options;
	if (options->has_room(options->arg))
		return add(connections, packet, true, socket);
	if (keep_for_later(connections, packet__reset(packet, connections->frame)))
		options->refuse(options->arg, packet, true);
	return NULL;
}

/* The peer is gone without a word, which the host's side takes for its last one: the guest is not to think so, too. */
static void cut(struct connections *connections, struct flow *flow)
{
	if (!reset_host_later(connections, flow))
		return; /* it is said again */
	struct flow ended = take_out(connections, flow);
	reset_guest(connections, &ended);
}

bool connections__to_guest(struct connections *connections, const struct packet *packet, int socket)
{
	const struct connections_options *options = &connections->options;
	struct flow *flow = flows__find(connections->flows, packet, true);
	if (packet->opens && flow && (flow->state == FLOW_CLOSED || flow->first != packet->sequence)) {
		flows__remove(connections->flows, flow);
		flow = NULL;
	}
	if (packet->opens && !flow)
		flow = let_in(connections, packet, socket);
	if (!flow)
		return false;
	mark_end(connections, packet, flow);
	bool ends = (packet->flags & TH_FIN) && !flow->guest_ended && !flow->host_ended;
	if (ends && options->is_broken(options->arg, flow->socket)) {
		cut(connections, flow);
		return false;
	}
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
		if (!flow->by_guest || egress__may_stay(connections->options.egress, &flow->peer, flow->peer_port))
			continue;
		struct flow ended = take_out(connections, flow);
		/* one that is opening hears of it when it asks again, and ends for the host with its connecting */
		if (ended.state == FLOW_OPENING)
			continue;
		reset_guest(connections, &ended);
		reset_host(connections, &ended);
	}
}
