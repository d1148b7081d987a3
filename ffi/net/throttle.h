/* A limit on bytes per second: whoever has sent too much waits until that has been made up for. */
#ifndef CAPSA_NET_THROTTLE_H
#define CAPSA_NET_THROTTLE_H

#include <stddef.h>
#include <stdint.h>

struct throttle {
	uint64_t rate;  /* bytes per second; 0: no limit */
	uint64_t spent; /* the time, nanoseconds, until which what has passed is worth */
};

/* `len` bytes pass at `now`, nanoseconds of a clock that only goes forward. A tenth of a second that was not used may
 * be used at once. */
void throttle__take(struct throttle *throttle, size_t len, uint64_t now);
/* Milliseconds until more may pass; 0: at once. */
uint64_t throttle__wait(const struct throttle *throttle, uint64_t now);

#endif
