/* What readings of the host's clock say about the guest's, and what is done about it. Pure functions. All in ns. */
#ifndef CAPSA_INIT_RECKON_H
#define CAPSA_INIT_RECKON_H

#include <stdbool.h>
#include <stdint.h>

/* How far the host's wall clock is ahead of the guest's monotonic one: not less than, and not more than. */
struct lead {
	int64_t least, most;
};

/* Nothing is known. */
#define LEAD_UNKNOWN ((struct lead){INT64_MIN, INT64_MAX})

/* The host's clock was read as `host` after the guest's was `asked` and before it was `heard`. This narrows what is
 * known; where it contradicts that, the host's clock was set or the machine stood still, and what was known is void. */
void lead__add(struct lead *lead, int64_t host, int64_t asked, int64_t heard);
/* The best guess, and how far from it the truth is at most. */
int64_t lead__middle(const struct lead *lead);
int64_t lead__doubt(const struct lead *lead);
/* How much a wall clock that is `own` ahead of the monotonic one has to go forward at least (back: less than 0). */
int64_t lead__certain(const struct lead *lead, int64_t own);

/* What is to be done to the guest's wall clock. */
struct correction {
	bool step;    /* at once; else by and by */
	int64_t by;   /* how much it goes forward; 0: it is right, as far as one knows */
	int64_t rate; /* ns per second that it is to run faster from now on */
};

/* The wall clock is `own` ahead of the monotonic one, and was right `since` ago. `pending`: of an earlier correction by
 * and by, this much is still to come; `by` includes it. No more is corrected than is certain: what a busy machine
 * measures badly changes nothing. */
struct correction reckon(const struct lead *lead, int64_t own, int64_t pending, int64_t since);

#endif
