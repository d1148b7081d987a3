/* What readings of the host's clock say about the guest's, and what is done about it. */
#include "init/reckon.h"

#define SECOND 1000000000LL
#define STEP 20000000LL         /* more than clocks drift apart between two looks: one of them was set, or stood */
#define RATE_AFTER (3 * SECOND) /* what is off sooner says little of the rate */
#define RATE_MOST 100000LL      /* at a time, ns per second */

void lead__add(struct lead *lead, int64_t host, int64_t asked, int64_t heard)
{
	const struct lead seen = {host - heard, host - asked};
	if (seen.least > lead->most || seen.most < lead->least) {
		*lead = seen;
		return;
	}
	if (seen.least > lead->least)
		lead->least = seen.least;
	if (seen.most < lead->most)
		lead->most = seen.most;
}

int64_t lead__doubt(const struct lead *lead)
{
	return (int64_t)(((uint64_t)lead->most - (uint64_t)lead->least) / 2);
}

int64_t lead__middle(const struct lead *lead)
{
	return lead->least + lead__doubt(lead);
}

int64_t lead__certain(const struct lead *lead, int64_t own)
{
	return own < lead->least ? lead->least - own : own > lead->most ? lead->most - own : 0;
}

struct correction reckon(const struct lead *lead, int64_t own, int64_t pending, int64_t since)
{
	const int64_t off = lead__certain(lead, own + pending);
	struct correction correction = {0};
	if (off > STEP || off < -STEP)
		return (struct correction){.step = true, .by = lead__middle(lead) - own};
	if (!off)
		return correction;
	correction.by = pending + off;
	if (since >= RATE_AFTER)
		correction.rate = off * SECOND / since;
	if (correction.rate > RATE_MOST)
		correction.rate = RATE_MOST;
	if (correction.rate < -RATE_MOST)
		correction.rate = -RATE_MOST;
	return correction;
}
