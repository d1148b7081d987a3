/* One event loop: the seam between capsa and the operating system's readiness API (epoll on Linux, kqueue on macOS). */
#ifndef CAPSA_COMMON_LOOP_H
#define CAPSA_COMMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Invariants, which every back end keeps:
 *  - A loop belongs to the thread that runs it. Only loop__call, loop__post and loop__stop may be used from another.
 *  - Events are level-triggered. A handler may add, change or delete any source, its own included, while it runs;
 *    a deleted source's handler is never called again, not even for an event already fetched.
 *  - File descriptors stay the caller's: the loop never closes one it was given.
 */
struct loop;

enum loop_events { LOOP_READ = 1, LOOP_WRITE = 2 };

/* `ready` holds the loop_events that are true; hang-up and error arrive as LOOP_READ|LOOP_WRITE. */
typedef void (*loop_fn)(void *arg, int fd, unsigned ready);
typedef void (*loop_call_fn)(void *arg);

/* The caller owns *out and frees it with loop__free. Returns 0 or -errno. */
__attribute__((warn_unused_result)) int loop__new(struct loop **out);
void loop__free(struct loop *loop);

/* One handler per fd. events may be 0 (parked: only hang-up is told, once). -EEXIST when fd has one, -ENOENT for mod
 * without. */
__attribute__((warn_unused_result)) int loop__add(struct loop *loop, int fd, unsigned events, loop_fn fn, void *arg);
__attribute__((warn_unused_result)) int loop__mod(struct loop *loop, int fd, unsigned events);
void loop__del(struct loop *loop, int fd);

/* One-shot timer after `ms` milliseconds of the monotonic clock. *id is never 0; 0 is "no timer" to the canceller. */
__attribute__((warn_unused_result)) int loop__timer(struct loop *loop, uint64_t ms, loop_call_fn fn, void *arg,
						    uint64_t *id);
void loop__timer_cancel(struct loop *loop, uint64_t id);

/* Run fn on the loop's thread: `call` waits until it ran (inline when already on that thread, or when the loop has not
 * been run yet), `post` does not wait. Posts run in order. Returns 0 or -errno (-ECANCELED once the loop stopped). */
__attribute__((warn_unused_result)) int loop__call(struct loop *loop, loop_call_fn fn, void *arg);
__attribute__((warn_unused_result)) int loop__post(struct loop *loop, loop_call_fn fn, void *arg);

/* From now on calls wait for the thread that is about to run the loop: where it has less rights than others, or more,
 * no other does its work. */
void loop__await(struct loop *loop);
/* In a process of one thread, in place of loop__run: wait for events (not at all without `wait`) and handle them, once.
 * Returns 0 or -errno. */
__attribute__((warn_unused_result)) int loop__step(struct loop *loop, bool wait);
/* Handle events until loop__stop. Returns 0 or -errno. */
int loop__run(struct loop *loop);
void loop__stop(struct loop *loop);

#endif
