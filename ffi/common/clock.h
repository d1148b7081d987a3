/* The clock that only goes forward. */
#ifndef CAPSA_COMMON_CLOCK_H
#define CAPSA_COMMON_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC, nanoseconds. */
uint64_t monotonic_ns(void);
/* The same in milliseconds, signed for the differences of points in time. */
int64_t monotonic_ms(void);

#endif
