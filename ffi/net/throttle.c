/* A limit on bytes per second, as a point in time that each byte moves on. */
#include "net/throttle.h"

#define SECOND_NS 1000000000U
#define SAVED_NS (SECOND_NS / 10)
#define MS_NS 1000000U

void throttle__take(struct throttle *throttle, size_t len, uint64_t now)
{
	if (!throttle->rate)
		return;
	uint64_t earliest = now > SAVED_NS ? now - SAVED_NS : 0;
	if (throttle->spent < earliest)
		throttle->spent = earliest;
	throttle->spent += len * SECOND_NS / throttle->rate;
}

uint64_t throttle__wait(const struct throttle *throttle, uint64_t now)
{
	return throttle->spent > now ? (throttle->spent - now + MS_NS - 1) / MS_NS : 0;
}
