/* One-shot timers: a binary heap, earliest first. */
#include "common/timers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/clock.h"

#define NS_PER_MS 1000000U
#define WAIT_MAX_MS 3600000U /* a longer wait is taken in parts */

void timers__free(struct timers *timers)
{
	free(timers->heap);
	*timers = (struct timers){.heap = NULL};
}

static bool earlier(const struct timer *a, const struct timer *b)
{
	return a->due < b->due || (a->due == b->due && a->id < b->id);
}

static void swap(struct timer *a, struct timer *b)
{
	struct timer t = *a;
	*a = *b;
	*b = t;
}

/* Put the heap in order again; only the entry at i may be out of it. */
static void settle(struct timers *timers, unsigned i)
{
	struct timer *t = timers->heap;
	for (; i > 0 && earlier(&t[i], &t[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&t[i], &t[(i - 1) / 2]);
	for (;;) {
		unsigned first = i;
		for (unsigned child = 2 * i + 1; child <= 2 * i + 2 && child < timers->count; child++)
			if (earlier(&t[child], &t[first]))
				first = child;
		if (first == i)
			return;
		swap(&t[i], &t[first]);
		i = first;
	}
}

static void take_out(struct timers *timers, unsigned i)
{
	timers->heap[i] = timers->heap[--timers->count];
	if (i < timers->count)
		settle(timers, i);
}

int timers__add(struct timers *timers, uint64_t ms, loop_call_fn fn, void *arg, uint64_t *id)
{
	if (timers->count == timers->room) {
		unsigned room = timers->room ? timers->room * 2 : 16;
		struct timer *heap = realloc(timers->heap, room * sizeof(struct timer));
		if (!heap)
			return -ENOMEM;
		timers->heap = heap;
		timers->room = room;
	}
	uint64_t due;
	if (__builtin_mul_overflow(ms, NS_PER_MS, &due) || __builtin_add_overflow(due, monotonic_ns(), &due))
		due = UINT64_MAX;
	*id = ++timers->last_id;
	timers->heap[timers->count] = (struct timer){.due = due, .id = *id, .fn = fn, .arg = arg};
	settle(timers, timers->count++);
	return 0;
}

/* A walk over all of them: a loop has a few. */
void timers__cancel(struct timers *timers, uint64_t id)
{
	for (unsigned i = 0; i < timers->count; i++) {
		if (timers->heap[i].id == id) {
			take_out(timers, i);
			return;
		}
	}
}

int timers__wait_ms(const struct timers *timers)
{
	if (!timers->count)
		return -1;
	uint64_t now = monotonic_ns(), due = timers->heap[0].due;
	if (due <= now)
		return 0;
	uint64_t ms = (due - now - 1) / NS_PER_MS + 1;
	return ms < WAIT_MAX_MS ? (int)ms : (int)WAIT_MAX_MS;
}

void timers__run(struct timers *timers)
{
	if (!timers->count)
		return;
	uint64_t now = monotonic_ns(), newest = timers->last_id;
	while (timers->count && timers->heap[0].due <= now && timers->heap[0].id <= newest) {
		struct timer t = timers->heap[0];
		take_out(timers, 0);
		t.fn(t.arg);
	}
}
