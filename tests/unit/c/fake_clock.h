/* The monotonic clock, which a test may put forward: what waits for hours is due at once. The program's own definition
 * takes the place of the C library's. */
#ifndef CAPSA_TESTS_FAKE_CLOCK_H
#define CAPSA_TESTS_FAKE_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static _Atomic uint64_t fake_clock__ahead; /* nanoseconds */

int clock_gettime(clockid_t id, struct timespec *t)
{
	int result = (int)syscall(SYS_clock_gettime, id, t);
	if (result == 0 && id == CLOCK_MONOTONIC) {
		uint64_t ns = (uint64_t)t->tv_sec * 1000000000U + (uint64_t)t->tv_nsec + fake_clock__ahead;
		t->tv_sec = (time_t)(ns / 1000000000U);
		t->tv_nsec = (long)(ns % 1000000000U);
	}
	return result;
}

CHECK__UNUSED static void fake_clock__pass(uint64_t ms)
{
	fake_clock__ahead += ms * 1000000U;
}

#endif
