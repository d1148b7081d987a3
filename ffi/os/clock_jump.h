/* Jumps of this machine's clock: it was set, or stood still while the machine was suspended. */
#ifndef CAPSA_OS_CLOCK_JUMP_H
#define CAPSA_OS_CLOCK_JUMP_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor, close-on-exec, that is readable once the clock has jumped; or -errno. */
__attribute__((warn_unused_result)) int clock_jump__open(void);
/* Whether it has, since this was asked last; never waits. */
bool clock_jump__take(int jumps);

/* How long this machine has been suspended in all, nanoseconds. */
int64_t suspended_ns(void);

#endif
