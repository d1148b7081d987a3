/* The event loop on Linux: epoll for descriptors, its timeout for timers, an eventfd for calls from other threads. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/loop.h"
#include "common/timers.h"

#define BATCH 64 /* events fetched at once */

struct source {
	int fd;
	unsigned events;
	loop_fn fn; /* NULL: deleted, kept until no fetched event can point here */
	void *arg;
	struct source *next_dead;
};

struct call {
	loop_call_fn fn;
	void *arg;
	bool *done; /* the waiting caller's; NULL for a post, whose struct is the loop's to free */
	struct call *next;
};

enum loop_state {
	IDLE,    /* not run yet */
	LENT,    /* not run yet, and `owner` is in an inline call */
	COMING,  /* not run yet, but its thread is on its way */
	RUNNING, /* `owner` is in loop__run */
	STOPPED,
};

struct loop {
	int epoll;
	int wake; /* eventfd */

	struct source **sources; /* by descriptor */
	int sources_len;
	struct source *dead;

	struct timers timers;

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	enum loop_state state;
	pthread_t owner;
	bool stopping;
	struct call *first, **last;
};

int loop__new(struct loop **out)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	if (!loop)
		return -ENOMEM;
	int err;
	loop->wake = -1;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0)
		goto fail;
	loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake < 0)
		goto fail;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event) < 0)
		goto fail;
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->changed, NULL);
	loop->last = &loop->first;
	*out = loop;
	return 0;
fail:
	err = -errno;
	if (loop->wake >= 0)
		close(loop->wake);
	if (loop->epoll >= 0)
		close(loop->epoll);
	free(loop);
	return err;
}

static void bury(struct loop *loop)
{
	while (loop->dead) {
		struct source *s = loop->dead;
		loop->dead = s->next_dead;
		free(s);
	}
}

void loop__free(struct loop *loop)
{
	if (!loop)
		return;
	bury(loop);
	for (int fd = 0; fd < loop->sources_len; fd++)
		free(loop->sources[fd]);
	free(loop->sources);
	timers__free(&loop->timers);
	while (loop->first) { /* posts to a loop that never ran */
		struct call *c = loop->first;
		loop->first = c->next;
		free(c);
	}
	close(loop->wake);
	close(loop->epoll);
	pthread_cond_destroy(&loop->changed);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

/* Descriptors */

static uint32_t epoll_bits(unsigned events)
{
	/* a hang-up cannot be left out, but told once */
	return events ? (events & LOOP_READ ? EPOLLIN : 0U) | (events & LOOP_WRITE ? EPOLLOUT : 0U) : (uint32_t)EPOLLET;
}

static struct source *find(struct loop *loop, int fd)
{
	return fd >= 0 && fd < loop->sources_len ? loop->sources[fd] : NULL;
}

static int make_room(struct loop *loop, int fd)
{
	if (fd < loop->sources_len)
		return 0;
	int len = loop->sources_len ? loop->sources_len : 64;
	while (len <= fd)
		len *= 2;
	struct source **sources = realloc(loop->sources, (size_t)len * sizeof(struct source *));
	if (!sources)
		return -ENOMEM;
	memset(sources + loop->sources_len, 0, (size_t)(len - loop->sources_len) * sizeof(struct source *));
	loop->sources = sources;
	loop->sources_len = len;
	return 0;
}

int loop__add(struct loop *loop, int fd, unsigned events, loop_fn fn, void *arg)
{
	if (fd < 0)
		return -EBADF;
	if (find(loop, fd))
		return -EEXIST;
	int err = make_room(loop, fd);
	if (err)
		return err;
	struct source *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct source){.fd = fd, .events = events, .fn = fn, .arg = arg};
	struct epoll_event event = {.events = epoll_bits(events), .data.ptr = s};
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		err = -errno;
		free(s);
		return err;
	}
	loop->sources[fd] = s;
	return 0;
}

int loop__mod(struct loop *loop, int fd, unsigned events)
{
	struct source *s = find(loop, fd);
	if (!s)
		return -ENOENT;
	if (s->events == events)
		return 0;
	struct epoll_event event = {.events = epoll_bits(events), .data.ptr = s};
	if (epoll_ctl(loop->epoll, EPOLL_CTL_MOD, fd, &event) < 0)
		return -errno;
	s->events = events;
	return 0;
}

void loop__del(struct loop *loop, int fd)
{
	struct source *s = find(loop, fd);
	if (!s)
		return;
	loop->sources[fd] = NULL;
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL); /* fails only when the caller closed it before */
	s->fn = NULL;
	s->next_dead = loop->dead;
	loop->dead = s;
}

static void dispatch(struct source *s, uint32_t bits)
{
	if (!s->fn)
		return;
	unsigned ready;
	if (bits & (EPOLLHUP | EPOLLERR))
		ready = LOOP_READ | LOOP_WRITE;
	else
		ready = ((bits & EPOLLIN ? LOOP_READ : 0U) | (bits & EPOLLOUT ? LOOP_WRITE : 0U)) & s->events;
	if (ready) /* a handler before this one may have lost interest in the event */
		s->fn(s->arg, s->fd, ready);
}

int loop__timer(struct loop *loop, uint64_t ms, loop_call_fn fn, void *arg, uint64_t *id)
{
	return timers__add(&loop->timers, ms, fn, arg, id);
}

void loop__timer_cancel(struct loop *loop, uint64_t id)
{
	if (id)
		timers__cancel(&loop->timers, id);
}

/* Calls */

static void wake(struct loop *loop)
{
	uint64_t one = 1;
	/* the only possible failure is a counter at its limit, which wakes the loop as well */
	ssize_t ignored = write(loop->wake, &one, sizeof(one));
	(void)ignored;
}

static bool own_turn(const struct loop *loop)
{
	return (loop->state == RUNNING || loop->state == LENT) && pthread_equal(loop->owner, pthread_self());
}

static void enqueue(struct loop *loop, struct call *c)
{
	*loop->last = c;
	loop->last = &c->next;
	wake(loop);
}

int loop__call(struct loop *loop, loop_call_fn fn, void *arg)
{
	pthread_mutex_lock(&loop->lock);
	if (own_turn(loop)) {
		pthread_mutex_unlock(&loop->lock);
		fn(arg);
		return 0;
	}
	while (loop->state == LENT)
		pthread_cond_wait(&loop->changed, &loop->lock);
	if (loop->stopping || loop->state == STOPPED) {
		pthread_mutex_unlock(&loop->lock);
		return -ECANCELED;
	}
	if (loop->state == IDLE) { /* lent to this thread; a thread that enters loop__run meanwhile waits there */
		loop->state = LENT;
		loop->owner = pthread_self();
		pthread_mutex_unlock(&loop->lock);
		fn(arg);
		pthread_mutex_lock(&loop->lock);
		loop->state = IDLE;
		pthread_cond_broadcast(&loop->changed);
		pthread_mutex_unlock(&loop->lock);
		return 0;
	}
	bool done = false;
	struct call c = {.fn = fn, .arg = arg, .done = &done};
	enqueue(loop, &c);
	while (!done)
		pthread_cond_wait(&loop->changed, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
	return 0;
}

int loop__post(struct loop *loop, loop_call_fn fn, void *arg)
{
	struct call *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct call){.fn = fn, .arg = arg};
	pthread_mutex_lock(&loop->lock);
	bool refused = loop->stopping || loop->state == STOPPED;
	if (!refused)
		enqueue(loop, c);
	pthread_mutex_unlock(&loop->lock);
	if (refused)
		free(c);
	return refused ? -ECANCELED : 0;
}

/* Run what was asked for until now; what that asks for in turn comes in the next round. */
static void run_calls(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	struct call *c = loop->first;
	loop->first = NULL;
	loop->last = &loop->first;
	pthread_mutex_unlock(&loop->lock);
	while (c) {
		struct call *next = c->next;
		c->fn(c->arg);
		if (c->done) {
			pthread_mutex_lock(&loop->lock);
			*c->done = true; /* c is gone once the lock is */
			pthread_cond_broadcast(&loop->changed);
			pthread_mutex_unlock(&loop->lock);
		} else {
			free(c);
		}
		c = next;
	}
}

/* The loop itself */

static bool stop_asked(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	bool stop = loop->stopping;
	pthread_mutex_unlock(&loop->lock);
	return stop;
}

int loop__step(struct loop *loop, bool wait)
{
	struct epoll_event events[BATCH];
	int n = epoll_wait(loop->epoll, events, BATCH, wait ? timers__wait_ms(&loop->timers) : 0);
	if (n < 0 && errno != EINTR)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr) {
			dispatch(events[i].data.ptr, events[i].events);
			continue;
		}
		uint64_t count;
		ssize_t ignored = read(loop->wake, &count, sizeof(count)); /* non-blocking; empty is fine */
		(void)ignored;
		run_calls(loop);
	}
	bury(loop);
	timers__run(&loop->timers);
	bury(loop);
	return 0;
}

void loop__await(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	while (loop->state == LENT)
		pthread_cond_wait(&loop->changed, &loop->lock);
	if (loop->state == IDLE)
		loop->state = COMING;
	pthread_mutex_unlock(&loop->lock);
}

int loop__run(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	while (loop->state == LENT)
		pthread_cond_wait(&loop->changed, &loop->lock);
	if (loop->state != IDLE && loop->state != COMING) {
		int err = loop->state == STOPPED ? -ECANCELED : -EBUSY;
		pthread_mutex_unlock(&loop->lock);
		return err;
	}
	loop->state = RUNNING;
	loop->owner = pthread_self();
	pthread_mutex_unlock(&loop->lock);

	int err = 0;
	while (!err && !stop_asked(loop))
		err = loop__step(loop, true);

	/* every call that was accepted runs; none is accepted from here on */
	pthread_mutex_lock(&loop->lock);
	loop->stopping = true;
	pthread_mutex_unlock(&loop->lock);
	run_calls(loop);
	bury(loop);
	pthread_mutex_lock(&loop->lock);
	loop->state = STOPPED;
	pthread_cond_broadcast(&loop->changed);
	pthread_mutex_unlock(&loop->lock);
	return err;
}

void loop__stop(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->stopping = true;
	pthread_mutex_unlock(&loop->lock);
	wake(loop);
}
