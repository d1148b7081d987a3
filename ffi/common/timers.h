/* One-shot timers in order of time: the part of an event loop that every back end shares. */
#ifndef CAPSA_COMMON_TIMERS_H
#define CAPSA_COMMON_TIMERS_H

#include <stdint.h>

#include "common/loop.h"

struct timer {
	uint64_t due; /* nanoseconds of CLOCK_MONOTONIC */
	uint64_t id;  /* grows with each timer, so it orders those due together */
	loop_call_fn fn;
	void *arg;
};

/* All zero is an empty set. */
struct timers {
	struct timer *heap; /* binary, earliest first */
	unsigned count, room;
	uint64_t last_id;
};

void timers__free(struct timers *timers);
/* Set one `ms` milliseconds from now. 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int timers__add(struct timers *timers, uint64_t ms, loop_call_fn fn, void *arg,
						    uint64_t *id);
void timers__cancel(struct timers *timers, uint64_t id);
/* Milliseconds until the first is due, rounded up so that none fires early; -1 when there is none. */
int timers__wait_ms(const struct timers *timers);
/* Run those that are due. One set meanwhile waits for the next turn, so timers cannot starve descriptors. */
void timers__run(struct timers *timers);

#endif
