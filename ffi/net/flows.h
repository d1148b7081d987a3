/* The guest's TCP connections as its gate sees them: which there are, how many, and where in its sequence each is, so
 * that either side can be told that one is over. */
#ifndef CAPSA_NET_FLOWS_H
#define CAPSA_NET_FLOWS_H

#include "net/packet.h"

enum flow_state {
	FLOW_FREE,
	FLOW_OPENING, /* nothing was answered yet */
	FLOW_OPEN,
	FLOW_CLOSED, /* both sides have ended it; what is on its way still belongs to it */
};

struct flow {
	enum flow_state state;
	struct address peer;
	uint16_t peer_port, guest_port;
	bool by_guest; /* the guest began it; if not, a published port did */
	bool guest_ended, host_ended;
	int socket;          /* of the host's side; -1: not known */
	uint32_t first;      /* the sequence number of what began it */
	uint32_t guest_next; /* the sequence number that the guest expects */
	uint32_t host_next;  /* and the one that the host's side does, by what it has acknowledged */
	uint32_t guest_sent; /* what follows the furthest of the guest's segments */
	unsigned waiting;    /* of those, how many may lie on the host's side for what is before them */
	uint64_t heard;      /* when either side was, milliseconds */
	uint64_t closed;     /* when, milliseconds */
	unsigned next;       /* of the same hash */
};

/* Segments that lie on the host's side for what is before them, of one connection and of all. A cable loses nothing, so
 * there are few, but each takes as much memory as the largest frame. */
#define FLOW_WAITING 256
#define FLOWS_WAITING 4096

struct flows;

/* Room for `most` that are not closed. 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int flows__new(unsigned most, struct flows **out);
void flows__free(struct flows *flows);

/* The connection of a segment: the guest's, or (`to_guest`) one for the guest. NULL when it belongs to none. */
struct flow *flows__find(struct flows *flows, const struct packet *packet, bool to_guest);
/* A new one, opening, by the socket that the host's side has for it. NULL when there is no room: see
 * flows__oldest_closed. */
struct flow *flows__add(struct flows *flows, const struct packet *packet, bool to_guest, int socket, uint64_t now);
void flows__remove(struct flows *flows, struct flow *flow);

/* Whether there is room on the host's side for a segment of the guest's: what comes next always has some. */
bool flows__takes(const struct flows *flows, const struct flow *flow, const struct packet *packet);
/* What a segment says of its connection; `now`: milliseconds. */
void flows__saw(struct flows *flows, struct flow *flow, const struct packet *packet, bool to_guest, uint64_t now);

/* How many are not closed. */
unsigned flows__count(const struct flows *flows);
/* One after the other, from NULL on; removing the one at hand is fine. NULL after the last. */
struct flow *flows__each(struct flows *flows, const struct flow *after);
/* The one that was closed first. NULL when none is. */
struct flow *flows__oldest_closed(struct flows *flows);

#endif
