/* Reaching inodes: from the share's root one component at a time, with a bounded number of descriptors kept open. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "virtio/fs/internal.h"

static void lru_out(struct fs_session *s, struct fs_inode *inode)
{
	inode->lru_prev->lru_next = inode->lru_next;
	inode->lru_next->lru_prev = inode->lru_prev;
	inode->lru_prev = inode->lru_next = NULL;
	s->lru_count--;
}

static void lru_in(struct fs_session *s, struct fs_inode *inode)
{
	inode->lru_prev = &s->lru;
	inode->lru_next = s->lru.lru_next;
	s->lru.lru_next->lru_prev = inode;
	s->lru.lru_next = inode;
	s->lru_count++;
}

void fd__close(struct fs_session *s, struct fs_inode *inode)
{
	if (inode->fd < 0)
		return;
	if (inode->lru_next)
		lru_out(s, inode);
	else if (!inode->root)
		s->pinned_count--;
	close(inode->fd);
	inode->fd = -1;
}

void fd__displaced(struct fs_session *s, struct fs_inode *inode)
{
	if (inode->fd < 0)
		return;
	lru_out(s, inode);
	s->pinned_count++;
	if (s->pinned_count > s->lru_max)
		fd__close(s, inode);
}

void fd__placed(struct fs_session *s, struct fs_inode *inode)
{
	if (inode->fd < 0)
		return;
	s->pinned_count--;
	lru_in(s, inode);
}

/* Close up to `count` descriptors, least recently used first, but none the request at hand was given. */
static void evict(struct fs_session *s, unsigned count)
{
	struct fs_inode *inode = s->lru.lru_prev;
	while (count && inode && inode != &s->lru) {
		struct fs_inode *newer = inode->lru_prev;
		if (inode->used != s->serial) {
			fd__close(s, inode);
			count--;
		}
		inode = newer;
	}
}

int fd__open(struct fs_session *s, int dir, const char *name, int flags, mode_t mode)
{
	int fd = openat(dir, name, flags | O_CLOEXEC, mode);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE) && s->lru_count) {
		evict(s, 64);
		fd = openat(dir, name, flags | O_CLOEXEC, mode);
	}
	if (fd >= 0)
		return fd;
	return errno == EMFILE ? -ENFILE : -errno;
}

static void hold_fd(struct fs_session *s, struct fs_inode *inode, int fd)
{
	inode->fd = fd;
	if (s->lru_count >= s->lru_max)
		evict(s, s->lru_count - s->lru_max + 1);
	lru_in(s, inode);
}

/* Open the file found at the inode's place in the directory above it, whose descriptor is open. */
static int step(struct fs_session *s, struct fs_inode *above, struct fs_inode *inode)
{
	struct statx stx;
	uint32_t used = above->used;
	above->used = s->serial; /* it is not to be closed to make room */
	int fd = fd__open(s, above->fd, inode->name, O_PATH | O_NOFOLLOW, 0);
	above->used = used;
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
	int err = stat__at(fd, "", &stx);
	if (!err && !inode__is(inode, &stx))
		err = -ESTALE;
	if (err) {
		close(fd);
		return err;
	}
	hold_fd(s, inode, fd);
	return 0;
}

static int locate(struct fs_session *s, struct fs_inode *inode)
{
	while (inode->fd < 0) {
		struct fs_inode *first = inode, *above;
		unsigned depth = 0;
		while ((above = inode__above(first)) && above->fd < 0 && depth++ < FS_DEPTH_MAX)
			first = above;
		if (depth > FS_DEPTH_MAX)
			return -ENAMETOOLONG;
		int err = above ? step(s, above, first) : -ESTALE;
		if (err)
			return err;
	}
	return 0;
}

int inode__fd(struct fs_session *s, struct fs_inode *inode)
{
	if (inode->fd < 0) {
		int err = locate(s, inode);
		if (err && inode->handles)
			return inode->handles->fd;
		if (err)
			return err;
	}
	inode->used = s->serial;
	if (inode->lru_next) {
		lru_out(s, inode);
		lru_in(s, inode);
	}
	return inode->fd;
}

int inode__stat(struct fs_session *s, struct fs_inode *inode, struct statx *stx)
{
	int fd = inode->fd >= 0 ? inode->fd : inode->handles ? inode->handles->fd : -1;
	if (fd >= 0)
		return stat__at(fd, "", stx);
	struct fs_inode *above = inode__above(inode);
	if (!above)
		return -ESTALE;
	int dir = inode__fd(s, above);
	if (dir < 0)
		return dir;
	int err = stat__at(dir, inode->name, stx);
	if (err == -ENOENT || err == -ENOTDIR)
		return -ESTALE;
	return err ? err : inode__is(inode, stx) ? 0 : -ESTALE;
}

int fd__lend(struct fs_session *s, int fd, mode_t *mode)
{
	struct statx stx;
	char number[16];
	int err = stat__at(fd, "", &stx);
	if (err)
		return err;
	*mode = stx.stx_mode & 07777;
	snprintf(number, sizeof(number), "%d", fd);
	mode_t more = S_ISDIR(stx.stx_mode) ? S_IRWXU : S_IRUSR | S_IWUSR;
	return fchmodat(s->proc, number, *mode | more, 0) ? -errno : 0;
}

void fd__take_back(struct fs_session *s, int fd, mode_t mode)
{
	char number[16];
	snprintf(number, sizeof(number), "%d", fd);
	(void)!fchmodat(s->proc, number, mode, 0);
}

int inode__open(struct fs_session *s, struct fs_inode *inode, int flags)
{
	char number[16];
	if (inode->type != S_IFREG && inode->type != S_IFDIR)
		return -ENXIO;
	int fd = inode__fd(s, inode);
	if (fd < 0)
		return fd;
	snprintf(number, sizeof(number), "%d", fd);
	if ((inode->share->read_only || (inode->share->layer && !inode->upper)) && !(flags & O_PATH)) {
		int opened = fd__open(s, s->proc, number, flags | O_NOATIME, 0);
		if (opened != -EPERM) /* neither the owner nor root: then the host may note the access */
			return opened;
	}
	int opened = fd__open(s, s->proc, number, flags, 0);
	mode_t mode;
	if (opened == -EACCES && inode->upper && !fd__lend(s, fd, &mode)) {
		opened = fd__open(s, s->proc, number, flags, 0);
		fd__take_back(s, fd, mode);
	}
	return opened;
}
