/* Holding worker loops still: a parked loop handles no event until it is let go. */
#ifndef CAPSA_ENGINE_KVM_PARK_H
#define CAPSA_ENGINE_KVM_PARK_H

#include "common/loop.h"

struct loop_park;

/* Returns once every loop stands still; `loops` may name one several times and is copied. NULL without memory. While
 * they stand, nothing may wait for them (loop__call). */
struct loop_park *loop_park__new(struct loop *const loops[], unsigned count);
/* Let them go on. NULL is allowed. */
void loop_park__free(struct loop_park *park);

#endif
