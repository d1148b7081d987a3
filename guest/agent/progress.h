/* A sign of life from a call that works long without data for the host: now and then it tells how far it is. */
#ifndef CAPSA_AGENT_PROGRESS_H
#define CAPSA_AGENT_PROGRESS_H

#include "agent/call.h"

/* All zero is one that has told nothing yet. */
struct progress {
	uint64_t due; /* monotonic, ns */
};

/* { id, ev: "progress", entries, bytes }, once a second at most. */
void progress__tell(struct progress *progress, struct call *call, uint64_t entries, uint64_t bytes);

#endif
