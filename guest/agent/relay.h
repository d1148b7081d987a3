/* A relay: two stream sockets, of the host's and of the guest's, and the bytes of each on their way to the other. */
#ifndef CAPSA_AGENT_RELAY_H
#define CAPSA_AGENT_RELAY_H

#include "agent/agent.h"
#include "common/buffer.h"

struct relay_side {
	int fd;
	unsigned awaited;     /* loop_events */
	struct buffer queued; /* for this side, from the other; memory is held only while there is something */
	bool silent;          /* nothing more comes from this side */
};

enum { RELAY_HOST, RELAY_GUEST, RELAY_SIDES };

/* Ends by itself once both sides are silent and have all their bytes, or one has broken. */
struct relay {
	struct agent *agent;
	struct relay *next, *prev;
	struct relay_side sides[RELAY_SIDES];
};

/* Takes both sockets over, which are not to block, and the bytes in `received`, which came from the host. Returns 0 or
 * -errno (both are closed). */
__attribute__((warn_unused_result)) int relay__open(struct agent *agent, int host, int guest, struct buffer *received);
void relay__close(struct relay *relay);

#endif
