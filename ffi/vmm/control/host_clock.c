/* The host's wall clock for the guest: what time it is, where the guest asks; and, unasked, that the guest missed some
 * or that the host's clock was set. */
#include "vmm/control/host_clock.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "os/clock_jump.h"
#include "vmm/control/guest_stream.h"

/* Beside the numbers of questions, which are bytes. */
#define STOOD_STILL 0
#define CLOCK_SET 256

#define STANDSTILL_NS 1000000 /* the two clocks are not read at one moment */

struct host_clock {
	struct loop *loop;
	struct guest_stream *stream;
	int changes;       /* of clock_jump__open */
	int64_t suspended; /* ns that it has been so far */
};

static void say(struct host_clock *clock, uint64_t what)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	const uint64_t ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	const uint64_t message[] = {htole64(what), htole64(ns)};
	guest_stream__say(clock->stream, message, sizeof(message));
}

/* Each byte is a question: of several one is still waited for, the last. */
static void asked(void *arg, const void *data, size_t len)
{
	say(arg, ((const uint8_t *)data)[len - 1]);
}

static void changed(void *arg, int fd, unsigned ready)
{
	struct host_clock *clock = arg;
	(void)ready;
	if (!clock_jump__take(fd))
		return;
	int64_t suspended = suspended_ns();
	say(clock, suspended - clock->suspended > STANDSTILL_NS ? STOOD_STILL : CLOCK_SET);
	clock->suspended = suspended;
}

/* A system that does not tell leaves that to the guest, which looks at the clock from time to time. */
static int watch_changes(struct host_clock *clock)
{
	clock->changes = clock_jump__open();
	return clock->changes < 0 ? 0 : loop__add(clock->loop, clock->changes, LOOP_READ, changed, clock);
}

int host_clock__new(struct loop *loop, const char *dir, uint32_t port, struct host_clock **out)
{
	struct host_clock *clock = calloc(1, sizeof(*clock));
	if (!clock)
		return -ENOMEM;
	*clock = (struct host_clock){.loop = loop, .changes = -1, .suspended = suspended_ns()};
	int err = guest_stream__new(loop, dir, port, asked, clock, &clock->stream);
	if (!err)
		err = watch_changes(clock);
	if (err) {
		host_clock__free(clock);
		return err;
	}
	*out = clock;
	return 0;
}

void host_clock__free(struct host_clock *clock)
{
	if (!clock)
		return;
	if (clock->changes >= 0) {
		loop__del(clock->loop, clock->changes);
		close(clock->changes);
	}
	guest_stream__free(clock->stream);
	free(clock);
}

void host_clock__stood(struct host_clock *clock)
{
	if (clock)
		say(clock, STOOD_STILL);
}
