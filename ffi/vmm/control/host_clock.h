/* The host's wall clock, as the guest's is set by it: "the time" of guest/protocol.cddl, served by the VMM itself. */
#ifndef CAPSA_VMM_CONTROL_HOST_CLOCK_H
#define CAPSA_VMM_CONTROL_HOST_CLOCK_H

#include <stdint.h>

#include "common/loop.h"

struct host_clock;

/* Wait for the guest at host-<port>.sock in `dir`. Before confinement, which has no call to make a timer by. 0 or
 * -errno; the caller frees *out. */
__attribute__((warn_unused_result)) int host_clock__new(struct loop *loop, const char *dir, uint32_t port,
							struct host_clock **out);
void host_clock__free(struct host_clock *clock);

/* The machine stood still, and is about to go on: its guest is told what time it is. NULL: nobody is. */
void host_clock__stood(struct host_clock *clock);

#endif
