/* Jumps of the clock on Linux: a timer that nobody waits for, which the kernel cancels whenever the clock jumps. */
#include "os/clock_jump.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NEVER (1LL << 33) /* seconds: in the year 2242 */

int clock_jump__open(void)
{
	const struct itimerspec never = {.it_value.tv_sec = NEVER};
	int jumps = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (jumps < 0)
		return -errno;
	if (timerfd_settime(jumps, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) == 0)
		return jumps;
	int err = -errno;
	close(jumps);
	return err;
}

bool clock_jump__take(int jumps)
{
	uint64_t times;
	return read(jumps, &times, sizeof(times)) >= 0 || errno == ECANCELED;
}

static int64_t now(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t suspended_ns(void)
{
	return now(CLOCK_BOOTTIME) - now(CLOCK_MONOTONIC);
}
