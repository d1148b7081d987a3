/* A table of TCP connections, by a hash of who talks to whom. A guest that makes hashes collide slows itself down. */
#include "net/flows.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#define HEADS 1024
#define CLOSED_ROOM 512 /* for those that are over, beside those that are not */

struct flows {
	unsigned most, alive, waiting;
	unsigned room;
	unsigned fresh;        /* from here on none was used yet */
	unsigned free;         /* first of the free ones before; 0: none, as everywhere here */
	unsigned heads[HEADS]; /* by hash */
	struct flow flows[];   /* the first is not used */
};

int flows__new(unsigned most, struct flows **out)
{
	unsigned room = most + CLOSED_ROOM + 1;
	struct flows *flows = calloc(1, sizeof(*flows) + room * sizeof(flows->flows[0]));
	if (!flows)
		return -ENOMEM;
	flows->most = most;
	flows->room = room;
	flows->fresh = 1;
	*out = flows;
	return 0;
}

void flows__free(struct flows *flows)
{
	free(flows);
}

static unsigned *head_of(struct flows *flows, const struct address *peer, uint16_t peer_port, uint16_t guest_port)
{
	uint32_t hash = (uint32_t)peer_port << 16 | guest_port;
	for (unsigned i = 0; i < sizeof(peer->bytes); i++)
		hash = (hash ^ peer->bytes[i]) * 0x01000193; /* FNV-1a's prime */
	return &flows->heads[(hash ^ hash >> 16) % HEADS];
}

struct flow *flows__find(struct flows *flows, const struct packet *packet, bool to_guest)
{
	const struct address *peer = to_guest ? &packet->source : &packet->destination;
	uint16_t peer_port = to_guest ? packet->source_port : packet->destination_port;
	uint16_t guest_port = to_guest ? packet->destination_port : packet->source_port;
	for (unsigned i = *head_of(flows, peer, peer_port, guest_port); i; i = flows->flows[i].next) {
		struct flow *flow = &flows->flows[i];
		if (flow->peer_port == peer_port && flow->guest_port == guest_port && address__equal(&flow->peer, peer))
			return flow;
	}
	return NULL;
}

struct flow *flows__add(struct flows *flows, const struct packet *packet, bool to_guest, int socket, uint64_t now)
{
	unsigned index = flows->free ? flows->free : flows->fresh;
	if (index == flows->room || flows->alive >= flows->most)
		return NULL;
	struct flow *flow = &flows->flows[index];
	if (flows->free)
		flows->free = flow->next;
	else
		flows->fresh++;
	*flow = (struct flow){
		.state = FLOW_OPENING,
		.peer = to_guest ? packet->source : packet->destination,
		.peer_port = to_guest ? packet->source_port : packet->destination_port,
		.guest_port = to_guest ? packet->destination_port : packet->source_port,
		.by_guest = !to_guest,
		.socket = socket,
		.first = packet->sequence,
		.host_next = to_guest ? 0 : packet->sequence + 1,
		.guest_sent = to_guest ? 0 : packet->sequence + 1,
		.heard = now,
	};
	unsigned *head = head_of(flows, &flow->peer, flow->peer_port, flow->guest_port);
	flow->next = *head;
	*head = index;
	flows->alive++;
	return flow;
}

void flows__remove(struct flows *flows, struct flow *flow)
{
	unsigned index = (unsigned)(flow - flows->flows);
	unsigned *at = head_of(flows, &flow->peer, flow->peer_port, flow->guest_port);
	while (*at != index)
		at = &flows->flows[*at].next;
	*at = flow->next;
	flows->waiting -= flow->waiting;
	if (flow->state != FLOW_CLOSED)
		flows->alive--;
	*flow = (struct flow){.state = FLOW_FREE, .next = flows->free};
	flows->free = index;
}

/* How far one sequence number is behind another. */
static int32_t behind(uint32_t a, uint32_t b)
{
	return (int32_t)(b - a);
}

static bool waits(const struct flow *flow, const struct packet *packet)
{
	return flow->state != FLOW_OPENING && packet->sequence_len && behind(flow->host_next, packet->sequence) > 0;
}

bool flows__takes(const struct flows *flows, const struct flow *flow, const struct packet *packet)
{
	return !waits(flow, packet) || (flow->waiting < FLOW_WAITING && flows->waiting < FLOWS_WAITING);
}

static void saw_from_host(struct flows *flows, struct flow *flow, const struct packet *packet)
{
	uint32_t end = packet->sequence + packet->sequence_len;
	if (flow->state == FLOW_OPENING || behind(flow->guest_next, end) > 0)
		flow->guest_next = end;
	if (packet->flags & TH_ACK)
		flow->host_next = packet->acknowledged;
	if (behind(flow->host_next, flow->guest_sent) > 0)
		return;
	flows->waiting -= flow->waiting;
	flow->waiting = 0;
}

static void saw_from_guest(struct flows *flows, struct flow *flow, const struct packet *packet)
{
	uint32_t end = packet->sequence + packet->sequence_len;
	if (waits(flow, packet)) {
		flow->waiting++;
		flows->waiting++;
	}
	if (flow->state == FLOW_OPENING && !flow->by_guest) /* its first word */
		flow->host_next = flow->guest_sent = end;
	if (behind(flow->guest_sent, end) > 0)
		flow->guest_sent = end;
}

void flows__saw(struct flows *flows, struct flow *flow, const struct packet *packet, bool to_guest, uint64_t now)
{
	flow->heard = now;
	if (to_guest)
		saw_from_host(flows, flow, packet);
	else
		saw_from_guest(flows, flow, packet);
	if (packet->flags & TH_FIN)
		*(to_guest ? &flow->host_ended : &flow->guest_ended) = true;
	if (flow->state == FLOW_OPENING && to_guest == flow->by_guest) /* an answer */
		flow->state = FLOW_OPEN;
	if (flow->state == FLOW_OPEN && flow->guest_ended && flow->host_ended) {
		flow->state = FLOW_CLOSED;
		flow->closed = now;
		flows->alive--;
	}
}

unsigned flows__count(const struct flows *flows)
{
	return flows->alive;
}

struct flow *flows__each(struct flows *flows, const struct flow *after)
{
	unsigned first = after ? (unsigned)(after - flows->flows) + 1 : 1;
	for (unsigned i = first; i < flows->fresh; i++)
		if (flows->flows[i].state != FLOW_FREE)
			return &flows->flows[i];
	return NULL;
}

struct flow *flows__oldest_closed(struct flows *flows)
{
	struct flow *oldest = NULL;
	for (struct flow *flow = flows__each(flows, NULL); flow; flow = flows__each(flows, flow))
		if (flow->state == FLOW_CLOSED && (!oldest || flow->closed < oldest->closed))
			oldest = flow;
	return oldest;
}
