/* The guest's TCP connections: which segments belong to one, which may begin one, and when one is over. */
#ifndef CAPSA_NET_CONNECTIONS_H
#define CAPSA_NET_CONNECTIONS_H

#include "net/egress.h"
#include "net/packet.h"

struct connections_options {
	const struct egress *egress;
	unsigned most;         /* at a time */
	uint64_t (*now)(void); /* milliseconds */
	/* A segment of the guest's that begins one: whether it may. If not, it was answered and told. */
	bool (*may_begin)(void *arg, const struct packet *packet);
	/* Whether there is room for one more, after all that could make room has. */
	bool (*has_room)(void *arg);
	/* There is none for what a segment of the guest's begins: answer and tell. */
	void (*refuse)(void *arg, const struct packet *packet);
	/* A frame on to the host's side, and one back to the guest. */
	void (*pass)(void *arg, const uint8_t *frame, size_t len);
	void (*answer)(void *arg, const uint8_t *frame, size_t len);
	void *arg;
};

struct connections;

/* 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int connections__new(const struct connections_options *options,
							 struct connections **out);
void connections__free(struct connections *connections);

/* How many are open or opening. */
unsigned connections__count(const struct connections *connections);

/* A segment of the guest's, as a frame and taken apart: passed on, answered, or dropped. */
void connections__from_guest(struct connections *connections, const uint8_t *frame, size_t len,
			     const struct packet *packet);
/* A segment for the guest: whether it may have it. */
bool connections__to_guest(struct connections *connections, const struct packet *packet);
/* What a packet of the guest's began cannot be had. */
void connections__unreachable(struct connections *connections, const struct packet *packet);

/* The policy has other rules now: what goes on against them ends, for both sides. */
void connections__recheck(struct connections *connections);

#endif
