/* One thread's event loop on poll(2): watches and timers are embedded in what they belong to, and cost no system call.
 */
#ifndef CAPSA_LOOP_LOOP_H
#define CAPSA_LOOP_LOOP_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct loop;

/* A file descriptor (the caller's own) and what is awaited on it. `events` may be changed at any time; 0 parks the
 * watch: then not even a hang-up is told. Readiness is level-triggered. */
struct watch {
	int fd;
	short events;
	void (*ready)(struct watch *watch, short revents);
	struct loop *loop;
	struct watch *next, *prev;
	size_t slot;
};

/* A one-shot timer on the monotonic clock. */
struct timer {
	void (*fire)(struct timer *timer);
	struct loop *loop; /* NULL: not set */
	struct timer *next, *prev;
	uint64_t due; /* ns */
};

struct loop {
	struct watch *watches;
	struct timer *timers; /* soonest first */
	struct pollfd *polled;
	struct watch **owners; /* of polled; NULL once removed */
	size_t capacity, count;
};

/* A handler may add, change and remove any watch or timer; what was removed is not called again. */
void loop__add(struct loop *loop, struct watch *watch);
/* Of a watch that was never added too (loop is NULL). */
void watch__remove(struct watch *watch);

/* (Re)set. */
void timer__set(struct loop *loop, struct timer *timer, uint64_t ms);
void timer__clear(struct timer *timer);

/* Wait for events (not at all when `poll_only`) and call their handlers once. Returns 0 or -errno. */
__attribute__((warn_unused_result)) int loop__step(struct loop *loop, bool poll_only);
/* What the loop allocated; watches and timers stay their owners'. */
void loop__free(struct loop *loop);

#endif
