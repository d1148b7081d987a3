/* A connection of the host: frames in, frames out, and the calls open on it. */
#ifndef CAPSA_AGENT_CONNECTION_H
#define CAPSA_AGENT_CONNECTION_H

#include "agent/agent.h"
#include "common/buffer.h"

enum { CONNECTION_CONGESTED = 512 * 1024 }; /* bytes queued from which on no more is produced */

struct call;

struct connection {
	struct agent *agent;
	int fd; /* -1: handed on */
	bool awaits_room;
	struct buffer in, out;
	int awaited; /* bytes that the socket must have before it is ready to be read: its SO_RCVLOWAT */
	struct call *calls;
	struct connection *next, *prev;
	bool broken;          /* to be freed as soon as no handler is at work on it */
	bool refused;         /* the host broke the protocol: what is queued goes out, then we part */
	bool parted;          /* nothing more is sent; what still comes is thrown away */
	uint64_t parting;     /* timer, until the host has closed its side too */
	bool shutdown_wanted; /* once what is queued has gone out */
	uint64_t grace_ms;
	int stream; /* what the connection becomes once what is queued has gone out; -1: nothing */
};

/* Take over the socket `fd`, which is closed on failure, too. Returns 0 or -errno. */
__attribute__((warn_unused_result)) int connection__open(struct agent *agent, int fd);
/* End all calls, close the socket. */
void connection__close(struct connection *connection);
/* End all calls, send no more, and close once the host has or a short while has gone by: a socket that is closed while
 * the host still writes to it is reset, and what was sent last may then not be read. */
void connection__part(struct connection *connection);
/* Handle what was received, let the calls produce, send. Returns whether there is more to do at once. The connection
 * may be gone afterwards. */
bool connection__settle(struct connection *connection);
/* No call may queue more until the host has read. */
static inline bool connection__congested(const struct connection *connection)
{
	return buffer__pending(&connection->out) >= CONNECTION_CONGESTED;
}

#endif
