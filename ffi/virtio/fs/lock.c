/*
 * The guest's locks. In a share whose locks are the host's, each is taken on the host as well: flock by the guest's
 * open file, whose descriptor is one here, too; those of fcntl by a descriptor for each owner, as a lock of an open
 * file (F_OFD_SETLK), which excludes the locks of other owners, of other sandboxes and of the host's processes.
 *
 * What is locked is known here as well: by that a waiting request knows whether it waits for the host, which has to be
 * asked, or for the guest itself; and so do shares whose locks are the guest's alone, of the same device.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "virtio/fs/locks.h"

static struct fs_lock *find(const struct fs_wish *wish)
{
	struct fs_lock *lock = wish->inode->locks;
	while (lock && (lock->flock != wish->flock ||
			(wish->flock ? lock->handle != wish->handle : lock->owner != wish->in->owner)))
		lock = lock->next;
	return lock;
}

const struct fs_lock *lock__in_the_way(const struct fs_wish *wish, const struct fs_lock *lock,
				       const struct fs_range **range)
{
	const struct fs_lock *own = find(wish);
	for (lock = lock ? lock->next : wish->inode->locks; lock; lock = lock->next) {
		if (lock == own || lock->flock != wish->flock)
			continue;
		for (*range = lock->ranges; *range; *range = (*range)->next)
			if (((*range)->exclusive || wish->exclusive) &&
			    range__overlaps(*range, wish->in->lk.start, wish->in->lk.end))
				return lock;
	}
	return NULL;
}

static void remove_lock(struct fs_session *s, struct fs_inode *inode, struct fs_lock *lock)
{
	struct fs_lock **at = &inode->locks;
	while (*at != lock)
		at = &(*at)->next;
	*at = lock->next;
	s->locks.changed |= lock->ranges != NULL;
	host_lock__let_go(s, lock);
	range__free_all(s, lock);
	if (lock->beside) {
		lock->beside->locked--;
		lock->beside->refs--;
		inode__put(s, lock->beside);
	}
	free(lock);
}

/* Those of a handle, or of an owner where that is NULL. */
static void remove_those(struct fs_session *s, struct fs_inode *inode, const struct fs_handle *handle, uint64_t owner)
{
	for (struct fs_lock *lock = inode->locks, *next; lock; lock = next) {
		next = lock->next;
		if (handle ? lock->handle == handle : !lock->flock && lock->owner == owner)
			remove_lock(s, inode, lock);
	}
}

static bool is_of_host(const struct fs_wish *wish)
{
	return wish->inode->share && wish->inode->share->host_locks;
}

static struct fs_lock *new_lock(const struct fs_wish *wish)
{
	struct fs_lock *lock = calloc(1, sizeof(*lock));
	if (!lock)
		return NULL;
	*lock = (struct fs_lock){
		.flock = wish->flock,
		.owner = wish->in->owner,
		.handle = wish->handle,
		.fd = -1,
		.next = wish->inode->locks,
		.beside = is_of_host(wish) ? wish->inode->parent : NULL,
	};
	wish->inode->locks = lock;
	if (lock->beside) {
		lock->beside->locked++;
		lock->beside->refs++;
	}
	return lock;
}

static int take_lock(const struct fs_wish *wish, struct fs_range **spare)
{
	struct fs_lock *lock = find(wish);
	bool host = is_of_host(wish);
	int err = 0;
	if (!lock) {
		lock = new_lock(wish);
		if (!lock)
			return -ENOMEM;
		if (host && wish->flock)
			lock->fd = wish->handle->fd;
		else if (host)
			err = host_lock__take_fd(wish, lock);
	}
	if (!err && host)
		err = host_lock__take(wish, lock);
	if (err) {
		if (!lock->ranges)
			remove_lock(wish->session, wish->inode, lock);
		return err;
	}
	const struct fuse_file_lock *lk = &wish->in->lk;
	struct fs_range *range = spare[0];
	wish->session->locks.changed |= lock->ranges != NULL; /* an exclusive one may become shared */
	range__cut(wish->session, lock, lk->start, lk->end, &spare[1]);
	*range = (struct fs_range){.start = lk->start, .end = lk->end, .exclusive = wish->exclusive};
	range__put(wish->session, lock, range);
	spare[0] = NULL;
	lock->pid = lk->pid;
	return 0;
}

static int drop_lock(const struct fs_wish *wish, struct fs_range **spare)
{
	struct fs_lock *lock = find(wish);
	const struct fuse_file_lock *lk = &wish->in->lk;
	if (!lock)
		return 0;
	int err = lock->fd < 0 || wish->flock ? 0 : host_lock__set(lock->fd, F_UNLCK, lk->start, lk->end);
	if (err)
		return err;
	range__cut(wish->session, lock, lk->start, lk->end, &spare[1]);
	wish->session->locks.changed = true;
	if (!lock->ranges)
		remove_lock(wish->session, wish->inode, lock);
	return 0;
}

int lock__try(const struct fs_wish *wish, bool *here)
{
	struct fs_session *s = wish->session;
	struct fs_range *spare[2] = {NULL, NULL};
	const struct fs_range *range;
	int err = 0;
	*here = false;
	/* as the kernel does: what is to be another kind of lock is given up first, so that two who share it, and both
	 * want it alone, do not wait for each other */
	struct fs_lock *old = wish->flock && wish->in->lk.type != F_UNLCK ? find(wish) : NULL;
	if (old && old->ranges->exclusive == wish->exclusive)
		return 0;
	if (old)
		remove_lock(s, wish->inode, old);
	if (wish->in->lk.type != F_UNLCK && lock__in_the_way(wish, NULL, &range)) {
		*here = true;
		return -EAGAIN;
	}
	for (unsigned i = 0; i < 2 && !err; i++) {
		spare[i] = calloc(1, sizeof(*spare[i]));
		err = spare[i] ? 0 : -ENOMEM;
	}
	/* all may be given up, whatever the limit: that needs no more */
	bool all = wish->in->lk.type == F_UNLCK && !wish->in->lk.start && wish->in->lk.end == INT64_MAX;
	if (!err && !all && s->locks.ranges + 2 > FS_LOCK_RANGES_MAX)
		err = -ENOLCK;
	if (!err)
		err = wish->in->lk.type == F_UNLCK ? drop_lock(wish, spare) : take_lock(wish, spare);
	free(spare[0]);
	free(spare[1]);
	return err;
}

int lock__wish(struct fs_session *s, struct fs_inode *inode, const struct fuse_lk_in *in, struct fs_wish *wish)
{
	struct fs_handle *handle = slots__get(&s->handles, in->fh);
	*wish = (struct fs_wish){
		.session = s,
		.inode = inode,
		.handle = handle,
		.in = in,
		.flock = in->lk_flags & FUSE_LK_FLOCK,
		.exclusive = in->lk.type == F_WRLCK,
	};
	return inode && handle && handle->inode == inode ? 0 : -EBADF;
}

void lock__drop(struct fs_session *s, const struct fs_handle *handle)
{
	remove_those(s, handle->inode, handle, 0);
}

/* --- the guest's requests --- */

uint32_t lock__open_flags(const struct fs_request *req)
{
	return req->session->locks.on && req->share && req->share->host_locks ? FS_OPEN_HOST_LOCKS : 0;
}

static int parse(struct fs_request *req, struct fs_wish *wish)
{
	const struct fuse_lk_in *in = req->in;
	uint32_t type = in->lk.type;
	if (!req->session->locks.on)
		return -ENOSYS;
	if (in->lk.start > in->lk.end || in->lk.end > INT64_MAX ||
	    in->lk_flags & ~(uint32_t)(FUSE_LK_FLOCK | FS_LK_OFD) ||
	    (type != F_RDLCK && type != F_WRLCK && type != F_UNLCK))
		return -EINVAL;
	int err = lock__wish(req->session, req->inode, in, wish);
	if (!err && !wish->flock && (wish->handle->directory || (wish->exclusive && !wish->handle->writable)))
		err = -EBADF;
	if (!err && wish->flock && (in->lk.start || in->lk.end != INT64_MAX))
		err = -EINVAL;
	return err;
}

int op__setlk(struct fs_request *req)
{
	struct fs_wish wish;
	bool here;
	int err = parse(req, &wish);
	return err ? err : lock__try(&wish, &here);
}

int op__setlkw(struct fs_request *req)
{
	struct fs_wish wish;
	bool here;
	int err = parse(req, &wish);
	if (!err)
		err = lock__try(&wish, &here);
	return err == -EAGAIN ? lock__await(req, &wish, here) : err;
}

/* Of who is not of the guest there is no number that it could know. */
int op__getlk(struct fs_request *req)
{
	struct fuse_lk_out *out = req->out;
	const struct fs_range *range = NULL;
	struct fs_wish wish;
	int err = parse(req, &wish);
	if (!err && (wish.flock || wish.in->lk.type == F_UNLCK))
		err = -EINVAL;
	if (err)
		return err;
	const struct fuse_file_lock *lk = &wish.in->lk;
	const struct fs_lock *lock = lock__in_the_way(&wish, NULL, &range), *own = find(&wish);
	struct flock host = {
		.l_type = (short)lk->type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)lk->start,
		.l_len = lk->end == INT64_MAX ? 0 : (off_t)(lk->end - lk->start + 1),
	};
	*out = (struct fuse_lk_out){.lk = {.type = F_UNLCK}};
	req->out_len = sizeof(*out);
	if (lock) {
		out->lk = (struct fuse_file_lock){range->start, range->end, range->exclusive ? F_WRLCK : F_RDLCK,
						  lock->pid};
		return 0;
	}
	if (!is_of_host(&wish))
		return 0;
	if (fcntl(own ? own->fd : wish.handle->fd, F_OFD_GETLK, &host))
		return -errno;
	if (host.l_type != F_UNLCK) {
		out->lk.start = (uint64_t)host.l_start;
		out->lk.end = host.l_len ? (uint64_t)(host.l_start + host.l_len - 1) : INT64_MAX;
		out->lk.type = (uint32_t)host.l_type;
	}
	return 0;
}

/* A process closes the file: its locks go, by whichever handle they were taken. */
int op__flush(struct fs_request *req)
{
	const struct fuse_flush_in *in = req->in;
	if (!req->session->locks.on)
		return -ENOSYS; /* and it does not ask again: nothing is buffered here */
	remove_those(req->session, req->inode, NULL, in->lock_owner);
	return 0;
}
