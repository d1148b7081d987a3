/* The host's side of the guest's locks: which descriptor has them, one for each owner. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "virtio/fs/locks.h"

int host_lock__set(int fd, short type, uint64_t start, uint64_t end)
{
	struct flock range = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)start,
		.l_len = end == INT64_MAX ? 0 : (off_t)(end - start + 1),
	};
	return !fcntl(fd, F_OFD_SETLK, &range) ? 0 : errno == EACCES ? -EAGAIN : -errno;
}

void host_lock__let_go(struct fs_session *s, struct fs_lock *lock)
{
	if (lock->fd < 0)
		return;
	if (lock->opened) {
		close(lock->fd);
		s->locks.opened--;
	} else if (lock->flock) {
		(void)flock(lock->fd, LOCK_UN);
	} else {
		(void)host_lock__set(lock->fd, F_UNLCK, 0, INT64_MAX);
		lock->handle->lent = false;
	}
	lock->fd = -1;
}

/* Whether it may have such a lock: a shared one needs reading, an exclusive one writing. */
static bool fits(int fd, bool exclusive)
{
	int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
	return mode == O_RDWR || mode == (exclusive ? O_WRONLY : O_RDONLY);
}

/* The file of the handle, opened anew. One that may only be written is opened for both, if it can be: its owner may ask
 * for a shared lock by another handle. */
static int open_again(struct fs_session *s, const struct fs_handle *handle)
{
	char number[16];
	if (s->locks.opened >= s->locks.opened_max)
		return -ENOLCK;
	snprintf(number, sizeof(number), "%d", handle->fd);
	return fd__open(s, s->proc, number, (handle->writable ? O_RDWR : O_RDONLY) | O_NOCTTY, 0);
}

int host_lock__take_fd(const struct fs_wish *wish, struct fs_lock *lock)
{
	struct fs_session *s = wish->session;
	struct fs_handle *handle = wish->handle;
	bool may_lend = !handle->lent && fits(handle->fd, wish->exclusive);
	int fd = may_lend && fits(handle->fd, false) ? -1 : open_again(s, handle);
	if (fd < 0 && !may_lend)
		return -ENOLCK;
	lock->handle = handle;
	lock->opened = fd >= 0;
	lock->fd = lock->opened ? fd : handle->fd;
	if (lock->opened)
		s->locks.opened++;
	else
		handle->lent = true;
	return 0;
}

/*
 * The owner's descriptor is for reading, and it wants an exclusive lock by a handle that may write: the shared ones,
 * which any number of descriptors can have, are taken by a new descriptor before the old one lets go. Exclusive ones of
 * a file that cannot be read do not move.
 */
static int move(const struct fs_wish *wish, struct fs_lock *lock)
{
	struct fs_session *s = wish->session;
	struct fs_lock moved = {.fd = -1};
	int err = wish->exclusive ? host_lock__take_fd(wish, &moved) : -ENOLCK;
	if (!err && !fits(moved.fd, true))
		err = -ENOLCK;
	for (struct fs_range *range = lock->ranges; range && !err; range = range->next)
		err = fits(moved.fd, false) ? host_lock__set(moved.fd, F_RDLCK, range->start, range->end) : -ENOLCK;
	if (err) {
		host_lock__let_go(s, &moved);
		return err == -EAGAIN ? -ENOLCK : err;
	}
	host_lock__let_go(s, lock);
	lock->fd = moved.fd;
	lock->opened = moved.opened;
	lock->handle = moved.handle;
	return 0;
}

int host_lock__take(const struct fs_wish *wish, struct fs_lock *lock)
{
	const struct fuse_file_lock *lk = &wish->in->lk;
	if (wish->flock)
		return flock(lock->fd, (wish->exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) ? -errno : 0;
	int err = fits(lock->fd, wish->exclusive) ? 0 : move(wish, lock);
	return err ? err : host_lock__set(lock->fd, wish->exclusive ? F_WRLCK : F_RDLCK, lk->start, lk->end);
}
