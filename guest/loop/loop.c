/* One thread's event loop on poll(2). */
#include "loop/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "common/clock.h"

enum { NS_PER_MS = 1000000 };

void loop__add(struct loop *loop, struct watch *watch)
{
	watch->loop = loop;
	watch->slot = SIZE_MAX;
	watch->prev = NULL;
	watch->next = loop->watches;
	if (watch->next)
		watch->next->prev = watch;
	loop->watches = watch;
}

void watch__remove(struct watch *watch)
{
	struct loop *loop = watch->loop;

	if (!loop)
		return;
	if (watch->slot < loop->count)
		loop->owners[watch->slot] = NULL;
	if (watch->prev)
		watch->prev->next = watch->next;
	else
		loop->watches = watch->next;
	if (watch->next)
		watch->next->prev = watch->prev;
	watch->loop = NULL;
}

void timer__set(struct loop *loop, struct timer *timer, uint64_t ms)
{
	struct timer *before = NULL, *after;

	timer__clear(timer);
	timer->due = monotonic_ns() + (ms > UINT32_MAX ? UINT32_MAX : ms) * NS_PER_MS;
	for (after = loop->timers; after && after->due <= timer->due; after = after->next)
		before = after;
	timer->prev = before;
	timer->next = after;
	if (before)
		before->next = timer;
	else
		loop->timers = timer;
	if (after)
		after->prev = timer;
	timer->loop = loop;
}

void timer__clear(struct timer *timer)
{
	if (!timer->loop)
		return;
	if (timer->prev)
		timer->prev->next = timer->next;
	else
		timer->loop->timers = timer->next;
	if (timer->next)
		timer->next->prev = timer->prev;
	timer->loop = NULL;
}

/* Milliseconds to the next timer, rounded up, or -1. */
static int patience(const struct loop *loop)
{
	uint64_t now, left;

	if (!loop->timers)
		return -1;
	now = monotonic_ns();
	if (loop->timers->due <= now)
		return 0;
	left = (loop->timers->due - now + NS_PER_MS - 1) / NS_PER_MS;
	return left > INT_MAX ? INT_MAX : (int)left;
}

static int grow(struct loop *loop)
{
	size_t capacity = loop->capacity ? loop->capacity * 2 : 32;
	struct pollfd *polled = realloc(loop->polled, capacity * sizeof(*polled));
	struct watch **owners;

	if (!polled)
		return -ENOMEM;
	loop->polled = polled;
	owners = realloc(loop->owners, capacity * sizeof(*owners)); // NOLINT(bugprone-sizeof-expression)
	if (!owners)
		return -ENOMEM;
	loop->owners = owners;
	loop->capacity = capacity;
	return 0;
}

static int collect(struct loop *loop)
{
	loop->count = 0;
	for (struct watch *watch = loop->watches; watch; watch = watch->next) {
		watch->slot = SIZE_MAX;
		if (!watch->events)
			continue;
		if (loop->count == loop->capacity && grow(loop) < 0)
			return -ENOMEM;
		watch->slot = loop->count++;
		loop->polled[watch->slot] = (struct pollfd){.fd = watch->fd, .events = watch->events};
		loop->owners[watch->slot] = watch;
	}
	return 0;
}

int loop__step(struct loop *loop, bool poll_only)
{
	int ready, error = collect(loop);

	if (error)
		return error;
	ready = poll(loop->polled, loop->count, poll_only ? 0 : patience(loop));
	if (ready < 0 && errno != EINTR)
		return -errno;
	for (size_t i = 0; ready > 0 && i < loop->count; i++) {
		short revents = loop->polled[i].revents;

		if (!revents)
			continue;
		ready--;
		if (loop->owners[i] && loop->owners[i]->events)
			loop->owners[i]->ready(loop->owners[i], revents);
	}
	loop->count = 0;
	while (loop->timers && loop->timers->due <= monotonic_ns()) {
		struct timer *timer = loop->timers;

		timer__clear(timer);
		timer->fire(timer);
	}
	return 0;
}

void loop__free(struct loop *loop)
{
	free(loop->polled);
	free(loop->owners);
	*loop = (struct loop){0};
}
