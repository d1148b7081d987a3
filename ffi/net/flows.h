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
	uint32_t guest_next; /* the sequence number that the guest expects */
	uint32_t host_next;  /* and the one that the host's side does, by what it has acknowledged */
	uint64_t closed;     /* when, milliseconds */
	unsigned next;       /* of the same hash */
};

struct flows;

/* Room for `most` that are not closed. 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int flows__new(unsigned most, struct flows **out);
void flows__free(struct flows *flows);

/* The connection of a segment: the guest's, or (`to_guest`) one for the guest. NULL when it belongs to none. */
struct flow *flows__find(struct flows *flows, const struct packet *packet, bool to_guest);
/* A new one, opening. NULL when there is no room: see flows__oldest_closed. */
struct flow *flows__add(struct flows *flows, const struct packet *packet, bool to_guest);
void flows__remove(struct flows *flows, struct flow *flow);

/* What a segment says of its connection; `now`: milliseconds. */
void flows__saw(struct flows *flows, struct flow *flow, const struct packet *packet, bool to_guest, uint64_t now);

/* How many are not closed. */
unsigned flows__count(const struct flows *flows);
/* One after the other, from NULL on; removing the one at hand is fine. NULL after the last. */
struct flow *flows__each(struct flows *flows, const struct flow *after);
/* The one that was closed first. NULL when none is. */
struct flow *flows__oldest_closed(struct flows *flows);

#endif
