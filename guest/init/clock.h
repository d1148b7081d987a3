/* The guest's wall clock, held to the host's: set before any program runs and after each standstill of the machine,
 * then kept right by its rate. Once a program sets it, it is the guest's own until the next standstill. */
#ifndef CAPSA_INIT_CLOCK_H
#define CAPSA_INIT_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/timex.h>

#include "common/loop.h"
#include "init/reckon.h"

struct clock {
	struct loop *loop;
	int fd;             /* -1: there is no host to ask */
	uint64_t next;      /* timer for a look at the clock; 0: none */
	struct lead lead;   /* of the look that is under way */
	uint64_t answer[2]; /* what has come of it */
	size_t received;
	int64_t asked;      /* monotonic ns */
	int64_t right;      /* the same: when it was set or corrected last */
	int64_t good;       /* ns of doubt: then no more is asked */
	uint64_t pause_ms;  /* between two looks */
	unsigned questions; /* of this look */
	uint8_t number;     /* of the last question; never 0 */
	bool connected;
	bool stood;        /* it has to be set, whoever has set it meanwhile */
	struct timex left; /* the kernel's side, as it was left last */
};

/* Connect to the host's clock, and wait until the guest's is set by it. False: it did not say the time in a second.
 * Port 0: there is nobody to ask. */
bool clock__start(struct clock *clock, struct loop *loop, uint32_t port);

#endif
