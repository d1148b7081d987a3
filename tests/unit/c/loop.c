/* The event loop: its invariants, one by one. */
#include "common/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "check.h"

static struct loop *loop;
static pthread_t thread;

static void *run(void *arg)
{
	(void)arg;
	return loop__run(loop) == 0 ? loop : NULL;
}

static void start(void)
{
	CHECK_EQ(pthread_create(&thread, NULL, run, NULL), 0);
}

static void stop(void)
{
	void *result;
	loop__stop(loop);
	pthread_join(thread, &result);
	CHECK(result == loop);
	loop__free(loop);
}

static void make(void)
{
	CHECK_EQ(loop__new(&loop), 0);
}

static void make_pair(int pair[2])
{
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
}

/* A handler's record; the loop stops when `until` calls came. */
struct seen {
	unsigned calls, until, ready;
	int fd;
	int del[2]; /* descriptors it deletes; -1 none */
};

static void on_ready(void *arg, int fd, unsigned ready)
{
	struct seen *s = arg;
	s->calls++;
	s->ready = ready;
	s->fd = fd;
	for (unsigned i = 0; i < 2; i++)
		if (s->del[i] >= 0)
			loop__del(loop, s->del[i]);
	if (s->calls == s->until)
		loop__stop(loop);
}

static void give_up(void *arg)
{
	(void)arg;
	loop__stop(loop);
}

/* Run on this thread until a handler stops the loop, or for `ms`. */
static void run_for(uint64_t ms)
{
	uint64_t id;
	CHECK_EQ(loop__timer(loop, ms, give_up, NULL, &id), 0);
	CHECK_EQ(loop__run(loop), 0);
}

static void readiness_is_level_triggered(void)
{
	int pair[2];
	make();
	make_pair(pair);
	struct seen s = {.until = 3, .del = {-1, -1}};
	CHECK_EQ(loop__add(loop, pair[0], LOOP_READ, on_ready, &s), 0);
	CHECK_EQ(write(pair[1], "x", 1), 1);
	run_for(5000);
	CHECK_EQ(s.calls, 3);
	CHECK_EQ(s.ready, LOOP_READ);
	CHECK_EQ(s.fd, pair[0]);
	loop__free(loop);
	close(pair[0]);
	close(pair[1]);
}

static void a_descriptor_has_one_handler(void)
{
	int pair[2];
	make();
	make_pair(pair);
	struct seen s = {.del = {-1, -1}};
	CHECK_EQ(loop__mod(loop, pair[0], LOOP_READ), -ENOENT);
	CHECK_EQ(loop__add(loop, pair[0], 0, on_ready, &s), 0);
	CHECK_EQ(loop__add(loop, pair[0], 0, on_ready, &s), -EEXIST);
	CHECK_EQ(loop__mod(loop, pair[0], LOOP_READ), 0);
	loop__del(loop, pair[0]);
	loop__del(loop, pair[0]);
	CHECK_EQ(loop__add(loop, pair[0], 0, on_ready, &s), 0);
	CHECK_EQ(loop__add(loop, -1, 0, on_ready, &s), -EBADF);
	CHECK_EQ(loop__add(loop, 500, 0, on_ready, &s), -EBADF);
	loop__free(loop);
	close(pair[0]);
	close(pair[1]);
}

static void a_parked_descriptor_is_told_of_hang_up_alone(void)
{
	int pair[2];
	make();
	make_pair(pair);
	struct seen s = {.until = 1, .del = {-1, -1}};
	CHECK_EQ(loop__add(loop, pair[0], 0, on_ready, &s), 0);
	CHECK_EQ(write(pair[1], "x", 1), 1);
	run_for(50);
	CHECK_EQ(s.calls, 0);
	loop__free(loop);

	make();
	CHECK_EQ(loop__add(loop, pair[0], 0, on_ready, &s), 0);
	close(pair[1]);
	run_for(5000);
	CHECK_EQ(s.calls, 1);
	CHECK_EQ(s.ready, LOOP_READ | LOOP_WRITE);
	loop__free(loop);

	make();
	CHECK_EQ(loop__add(loop, pair[0], 0, on_ready, &s), 0);
	CHECK_EQ(loop__step(loop, false), 0);
	CHECK_EQ(s.calls, 2);
	CHECK_EQ(loop__step(loop, false), 0); /* or it would never wait again */
	CHECK_EQ(s.calls, 2);
	CHECK_EQ(loop__mod(loop, pair[0], LOOP_READ), 0);
	CHECK_EQ(loop__step(loop, true), 0);
	CHECK_EQ(loop__step(loop, true), 0);
	CHECK_EQ(s.calls, 4);
	loop__free(loop);
	close(pair[0]);
}

static void a_deleted_handler_is_not_called_even_for_a_fetched_event(void)
{
	int a[2], b[2];
	make();
	make_pair(a);
	make_pair(b);
	/* both are ready at once; whoever runs first deletes both, itself included */
	struct seen sa = {.until = 1, .del = {a[0], b[0]}}, sb = {.until = 1, .del = {a[0], b[0]}};
	CHECK_EQ(loop__add(loop, a[0], LOOP_WRITE, on_ready, &sa), 0);
	CHECK_EQ(loop__add(loop, b[0], LOOP_WRITE, on_ready, &sb), 0);
	run_for(5000);
	CHECK_EQ(sa.calls + sb.calls, 1);
	loop__free(loop);
	for (unsigned i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
}

static unsigned order[8], order_len;

static void note(void *arg)
{
	if (order_len < 8)
		order[order_len++] = (unsigned)(uintptr_t)arg;
}

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void timers_fire_in_order_and_never_early(void)
{
	uint64_t id, cancelled;
	make();
	order_len = 0;
	uint64_t begin = now_ms();
	CHECK_EQ(loop__timer(loop, 40, note, (void *)3, &id), 0);
	CHECK_EQ(loop__timer(loop, 20, note, (void *)9, &cancelled), 0);
	CHECK_EQ(loop__timer(loop, 0, note, (void *)1, &id), 0);
	CHECK_EQ(loop__timer(loop, 20, note, (void *)2, &id), 0);
	CHECK_EQ(loop__timer(loop, UINT64_MAX, note, (void *)8, &id), 0);
	CHECK(id != 0 && cancelled != 0);
	loop__timer_cancel(loop, cancelled);
	loop__timer_cancel(loop, cancelled);
	loop__timer_cancel(loop, 0);
	run_for(60);
	CHECK(now_ms() - begin >= 59);
	CHECK_EQ(order_len, 3);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(order[i], i + 1);
	loop__free(loop);
}

static void many_timers_stay_in_order(void)
{
	static uint64_t ids[500];
	make();
	unsigned seed = 1;
	order_len = 0;
	for (unsigned i = 0; i < 500; i++)
		CHECK_EQ(loop__timer(loop, 1000 + (unsigned)rand_r(&seed) % 1000, note, NULL, &ids[i]), 0);
	for (unsigned i = 0; i < 500; i++)
		if (i % 50)
			loop__timer_cancel(loop, ids[i]);
	CHECK_EQ(loop__timer(loop, 2, note, (void *)2, &ids[0]), 0);
	CHECK_EQ(loop__timer(loop, 1, note, (void *)1, &ids[0]), 0);
	run_for(100);
	CHECK_EQ(order_len, 2);
	CHECK_EQ(order[0], 1);
	loop__free(loop);
}

static pthread_t called_on;

static void where(void *arg)
{
	called_on = pthread_self();
	++*(unsigned *)arg;
}

static void a_call_runs_on_the_loop_and_has_run_when_it_returns(void)
{
	unsigned calls = 0;
	make();
	CHECK_EQ(loop__call(loop, where, &calls), 0); /* not run yet: inline */
	CHECK(calls == 1 && pthread_equal(called_on, pthread_self()));
	start();
	for (unsigned i = 0; i < 1000; i++)
		CHECK_EQ(loop__call(loop, where, &calls), 0);
	CHECK_EQ(calls, 1001);
	CHECK(pthread_equal(called_on, thread) || pthread_equal(called_on, pthread_self()));
	stop();
}

static void *run_late(void *arg)
{
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	return run(arg);
}

static void a_call_waits_for_a_thread_on_its_way(void)
{
	unsigned calls = 0;
	make();
	CHECK_EQ(pthread_create(&thread, NULL, run_late, NULL), 0);
	loop__await(loop);
	CHECK_EQ(loop__call(loop, where, &calls), 0);
	CHECK(calls == 1 && pthread_equal(called_on, thread));
	loop__await(loop); /* it is there: nothing changes */
	CHECK_EQ(loop__call(loop, where, &calls), 0);
	CHECK(calls == 2 && pthread_equal(called_on, thread));
	stop();
}

static void nested(void *arg)
{
	if (loop__call(loop, where, arg))
		*(unsigned *)arg = 100;
}

static void a_call_within_a_call_is_inline(void)
{
	unsigned calls = 0;
	make();
	CHECK_EQ(loop__call(loop, nested, &calls), 0);
	start();
	CHECK_EQ(loop__call(loop, nested, &calls), 0);
	CHECK_EQ(calls, 2);
	stop();
}

static void posts_run_in_order_and_all_of_them(void)
{
	make();
	order_len = 0;
	for (uintptr_t i = 0; i < 4; i++)
		CHECK_EQ(loop__post(loop, note, (void *)i), 0);
	start();
	for (uintptr_t i = 4; i < 8; i++)
		CHECK_EQ(loop__post(loop, note, (void *)i), 0);
	struct loop *stopped = loop;
	loop__stop(loop);
	pthread_join(thread, NULL);
	CHECK_EQ(order_len, 8);
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(order[i], i);
	unsigned calls = 0;
	CHECK_EQ(loop__post(stopped, note, NULL), -ECANCELED);
	CHECK_EQ(loop__call(stopped, where, &calls), -ECANCELED);
	CHECK_EQ(loop__run(stopped), -ECANCELED);
	loop__free(stopped);
}

static void count(void *arg)
{
	++*(unsigned *)arg;
}

static void *caller(void *arg)
{
	for (unsigned i = 0; i < 20000; i++)
		if (loop__call(loop, count, arg))
			break;
	return NULL;
}

/* Callers hammer a loop that starts, runs and stops under them: each call either ran once or was refused. */
static void calls_from_many_threads(void)
{
	unsigned calls = 0;
	pthread_t callers[4];
	make();
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&callers[i], NULL, caller, &calls), 0);
	start();
	for (unsigned i = 0; i < 4; i++)
		pthread_join(callers[i], NULL);
	CHECK_EQ(calls, 80000);
	stop();
}

int main(void)
{
	CASE(readiness_is_level_triggered);
	CASE(a_descriptor_has_one_handler);
	CASE(a_parked_descriptor_is_told_of_hang_up_alone);
	CASE(a_deleted_handler_is_not_called_even_for_a_fetched_event);
	CASE(timers_fire_in_order_and_never_early);
	CASE(many_timers_stay_in_order);
	CASE(a_call_runs_on_the_loop_and_has_run_when_it_returns);
	CASE(a_call_waits_for_a_thread_on_its_way);
	CASE(a_call_within_a_call_is_inline);
	CASE(posts_run_in_order_and_all_of_them);
	CASE(calls_from_many_threads);
	return check__done();
}
