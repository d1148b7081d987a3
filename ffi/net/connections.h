/* The guest's TCP connections: which segments belong to one, which may begin one, and when one is over. */
#ifndef CAPSA_NET_CONNECTIONS_H
#define CAPSA_NET_CONNECTIONS_H

#include "common/loop.h"
#include "net/egress.h"
#include "net/packet.h"

/* The guest is asked for one that was silent for so long whether it still has it: its kernel resets what no program has
 * any more. Where one side has ended it Linux forgets it after a minute (tcp_fin_timeout), by timers that are a little
 * late; others are asked for as often as its keepalive does. */
#define CONNECTION_ENDING_MS 65000
#define CONNECTION_IDLE_MS 7200000
/* One that is still opening is over: the host's side gives up after 75 s, not always with a word. */
#define CONNECTION_OPENING_MS 130000
#define CONNECTIONS_LOOK_MS 10000 /* how often they are looked at */

struct connections_options {
	const struct egress *egress;
	struct loop *loop;
	unsigned most;         /* at a time */
	uint64_t (*now)(void); /* milliseconds */
	/* A segment of the guest's that begins one: whether it may. If not, it was answered and told. */
	bool (*may_begin)(void *arg, const struct packet *packet);
	/* Whether there is room for one more, after all that could make room has. */
	bool (*has_room)(void *arg);
	/* There is none: for what a segment of the guest's begins, answer and tell; of a published port's, tell. */
	void (*refuse)(void *arg, const struct packet *packet, bool to_guest);
	/* A published port leads to a port of the guest's on which nobody listens. */
	void (*unheard)(void *arg, const struct packet *packet);
	/* A frame on to the host's side. Returns the socket that was opened for it, -1 when none was. */
	int (*pass)(void *arg, const uint8_t *frame, size_t len);
	/* The same for one that resets: the peer is to hear of it as that. */
	void (*reset)(void *arg, const uint8_t *frame, size_t len);
	/* Whether the peer has yet to get some of what the guest has sent; whether it is there no more. */
	bool (*is_busy)(void *arg, int socket);
	bool (*is_broken)(void *arg, int socket);
	/* A frame back to the guest. */
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
/* A segment for the guest, of the socket that was just opened for it, or -1: whether it may have it. */
bool connections__to_guest(struct connections *connections, const struct packet *packet, int socket);
/* What a packet of the guest's began cannot be had. */
void connections__unreachable(struct connections *connections, const struct packet *packet);

/* The policy has other rules now: what goes on against them ends, for both sides. */
void connections__recheck(struct connections *connections);

#endif
