/* Requests that wait for a lock: they are tried again when the guest gives some up, and, where the host has what they
 * wait for, from time to time. Who waits is known by numbers alone: what they mean is looked up at each try. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "virtio/fs/locks.h"

enum {
	POLL_MS = 10, /* until the host is asked again, the first time; then twice as long each time */
	POLL_MS_MAX = 250,
	CIRCLE_DEPTH = 10,   /* waiting owners that are followed, as the kernel does */
	CIRCLE_STEPS = 1000, /* waiting requests that are looked at */
};

#define NS_OF_MS 1000000ULL

struct fs_waiter {
	struct fs_waiter *next; /* in order of arrival */
	uint64_t unique, node;
	struct fuse_lk_in in;
	bool over;
	int error;       /* once it is over */
	bool here;       /* it is the guest who has what it waits for: there is no use in asking the host */
	uint64_t due_ns; /* when the host is to be asked again */
	unsigned delay_ms;
};

/* Whether who has what is wished for waits, by however many others, for the owner. */
static bool leads_to(const struct fs_wish *wish, uint64_t owner, unsigned depth, unsigned *steps)
{
	struct fs_session *s = wish->session;
	const struct fs_range *range;
	const struct fs_lock *lock = NULL;
	while ((lock = lock__in_the_way(wish, lock, &range))) {
		if (lock->owner == owner)
			return true;
		for (const struct fs_waiter *waiter = s->locks.first; waiter; waiter = waiter->next) {
			struct fs_wish next;
			if (!*steps)
				return false;
			--*steps;
			if (waiter->in.owner == lock->owner && !waiter->over && depth &&
			    !(waiter->in.lk_flags & (FUSE_LK_FLOCK | FS_LK_OFD)) &&
			    !lock__wish(s, slots__get(&s->inodes, waiter->node), &waiter->in, &next) &&
			    leads_to(&next, owner, depth - 1, steps))
				return true;
		}
	}
	return false;
}

/* Two processes that wait for each other; an open file waits for nobody: any thread may give up its locks. */
static bool is_circle(const struct fs_wish *wish)
{
	unsigned steps = CIRCLE_STEPS;
	return !(wish->in->lk_flags & (FUSE_LK_FLOCK | FS_LK_OFD)) &&
	       leads_to(wish, wish->in->owner, CIRCLE_DEPTH, &steps);
}

static void try_again(struct fs_session *s, struct fs_waiter *waiter)
{
	struct fs_wish wish;
	int err = lock__wish(s, slots__get(&s->inodes, waiter->node), &waiter->in, &wish);
	if (!err)
		err = lock__try(&wish, &waiter->here);
	waiter->over = err != -EAGAIN;
	waiter->error = err;
}

void lock__retry(struct fs_session *s)
{
	while (s->locks.changed) { /* by each round, one who waits no more, or a lock less */
		s->locks.changed = false;
		for (struct fs_waiter *waiter = s->locks.first; waiter; waiter = waiter->next)
			if (!waiter->over)
				try_again(s, waiter);
	}
}

uint64_t lock__poll(struct fs_session *s)
{
	uint64_t now = monotonic_ns(), next = 0;
	for (struct fs_waiter *waiter = s->locks.first; waiter; waiter = waiter->next) {
		if (waiter->over || waiter->here || waiter->due_ns > now)
			continue;
		try_again(s, waiter);
		waiter->delay_ms = waiter->delay_ms * 2 < POLL_MS_MAX ? waiter->delay_ms * 2 : POLL_MS_MAX;
		waiter->due_ns = now + waiter->delay_ms * NS_OF_MS;
	}
	lock__retry(s);
	for (const struct fs_waiter *waiter = s->locks.first; waiter; waiter = waiter->next)
		if (!waiter->over && !waiter->here && (!next || waiter->due_ns < next))
			next = waiter->due_ns;
	return !next ? 0 : next > now ? (next - now) / NS_OF_MS + 1 : 1;
}

/* The guest's queue of interrupts may be served before that of requests. */
static bool was_interrupted(struct fs_session *s, uint64_t unique)
{
	for (unsigned i = 0; i < FS_INTERRUPTS_KEPT; i++) {
		if (unique && s->locks.interrupted[i] == unique) {
			s->locks.interrupted[i] = 0;
			return true;
		}
	}
	return false;
}

int lock__await(struct fs_request *req, const struct fs_wish *wish, bool here)
{
	struct fs_session *s = req->session;
	struct fs_waiter **last = &s->locks.first;
	if (is_circle(wish))
		return -EDEADLK;
	if (was_interrupted(s, req->header.unique))
		return -EINTR;
	req->waiter = calloc(1, sizeof(*req->waiter));
	if (!req->waiter)
		return -ENOMEM;
	*req->waiter = (struct fs_waiter){
		.unique = req->header.unique,
		.node = req->header.nodeid,
		.in = *wish->in,
		.here = here,
		.due_ns = monotonic_ns() + POLL_MS * NS_OF_MS,
		.delay_ms = POLL_MS,
	};
	while (*last)
		last = &(*last)->next;
	*last = req->waiter;
	return FS_WAIT;
}

void lock__closed(struct fs_session *s, const struct fs_handle *handle)
{
	lock__drop(s, handle);
	for (const struct fs_waiter *waiter = s->locks.first; waiter; waiter = waiter->next)
		s->locks.changed |= waiter->in.fh == handle->id; /* it waits in vain */
}

bool lock__is_over(const struct fs_waiter *waiter, int *error)
{
	*error = waiter->error;
	return waiter->over;
}

void lock__forget(struct fs_session *s, struct fs_waiter *waiter)
{
	struct fs_waiter **at = &s->locks.first;
	while (*at != waiter)
		at = &(*at)->next;
	*at = waiter->next;
	free(waiter);
}

void lock__interrupt(struct fs_session *s, uint64_t unique)
{
	for (struct fs_waiter *waiter = s->locks.first; waiter; waiter = waiter->next) {
		if (waiter->unique == unique && !waiter->over) {
			waiter->over = true;
			waiter->error = -EINTR;
			return;
		}
	}
	s->locks.interrupted[s->locks.interrupts++ % FS_INTERRUPTS_KEPT] = unique;
}

void lock__reset(struct fs_session *s)
{
	for (struct fs_waiter *waiter = s->locks.first; waiter; waiter = waiter->next) {
		waiter->over = true;
		waiter->error = -ENOTCONN;
	}
	memset(s->locks.interrupted, 0, sizeof(s->locks.interrupted));
	s->locks.changed = s->locks.on = false;
}

void lock__end(struct fs_session *s)
{
	while (s->locks.first)
		lock__forget(s, s->locks.first);
}
