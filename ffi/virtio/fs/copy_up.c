/* Copies of what the guest is about to change, in the layer of its share. Each is made whole where nobody sees it, and
 * then takes its place in one step. What is open of it is the copy's from then on. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "os/socket.h"
#include "virtio/fs/layer.h"

enum {
	NOREPLACE = 1, /* of renameat2() */
	CHUNK = 256 * 1024,
	NAMES_MAX = 64 * 1024, /* bytes of all attributes' names, and of one's value: the kernel's limits */
};

/* A copy that is under way. */
struct copy {
	struct fs_inode *inode;
	struct statx stx; /* of what is copied */
	int to;           /* the layer's directory that it belongs in; -1: it has no name */
	int fd;           /* of a copied file; -1 */
	char aside[LAYER_NAME];
};

/* --- bytes --- */

static int copy_by_hand(int from, int to, off_t at, off_t end)
{
	char *buffer = malloc(CHUNK);
	int err = buffer ? 0 : -ENOMEM;
	while (!err && at < end) {
		struct iovec in = {buffer, end - at < CHUNK ? (size_t)(end - at) : CHUNK};
		ssize_t n = preadv2(from, &in, 1, at, 0);
		if (n <= 0) {
			err = n < 0 ? -errno : 0;
			break; /* the host has cut it short */
		}
		for (ssize_t done = 0; !err && done < n;) {
			struct iovec out = {buffer + done, (size_t)(n - done)};
			ssize_t m = pwritev2(to, &out, 1, at + done, 0);
			if (m < 0)
				err = -errno;
			else
				done += m;
		}
		at += n;
	}
	free(buffer);
	return err;
}

static int copy_range(int from, int to, off_t at, off_t end)
{
	while (at < end) {
		off_t in = at, out = at;
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);
		if (n < 0 && errno != ENOSPC && errno != EDQUOT && errno != EIO)
			return copy_by_hand(from, to, at, end); /* not between these file systems, or not of this one */
		if (n < 0)
			return -errno;
		if (n == 0)
			return copy_by_hand(from, to, at, end);
		at += n;
	}
	return 0;
}

/* Holes stay holes. Where the file system does not tell of them there are none. */
static int copy_data(int from, int to, off_t size)
{
	if (!size || !ioctl(to, FICLONE, from))
		return 0;
	int err = ftruncate(to, size) ? -errno : 0;
	for (off_t at = 0; !err && at < size;) {
		off_t data = lseek(from, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break;
		off_t hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
		if (hole < 0 || hole > size)
			hole = size;
		if (data < 0)
			data = at;
		err = data < hole ? copy_range(from, to, data, hole) : 0;
		at = hole;
	}
	return err;
}

static int copy_attribute(int from, int to, const char *name, char *value)
{
	ssize_t n =
		strncmp(name, "user.", 5) != 0 || union__is_own(name) ? -1 : fgetxattr(from, name, value, NAMES_MAX);
	return n >= 0 && fsetxattr(to, name, value, (size_t)n, 0) ? -errno : 0;
}

static int copy_attributes(int from, int to)
{
	ssize_t n = flistxattr(from, NULL, 0);
	if (n <= 0) /* none, or the file system has none */
		return 0;
	char *names = malloc(NAMES_MAX), *value = malloc(NAMES_MAX);
	int err = names && value ? 0 : -ENOMEM;
	n = err ? 0 : flistxattr(from, names, NAMES_MAX);
	for (ssize_t at = 0; !err && at < n; at += (ssize_t)strnlen(names + at, (size_t)(n - at)) + 1)
		if (memchr(names + at, 0, (size_t)(n - at)))
			err = copy_attribute(from, to, names + at, value);
	free(names);
	free(value);
	return err;
}

/* --- places --- */

/* The directory of the layer in which the inode belongs, which is there, as long as the host has it where it was seen:
 * a descriptor, or -ESTALE. */
static int place_of(struct fs_session *s, struct fs_inode *inode)
{
	struct statx stx;
	if (!inode->parent || !inode->parent->upper)
		return -ESTALE;
	int err = union__below(s, inode->parent, inode->name, &stx);
	if (!err && !inode__is(inode, &stx))
		err = -ESTALE;
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	return inode__fd(s, inode->parent);
}

static int name_it(struct fs_session *s, const struct copy *copy)
{
	const struct fs_layer *layer = copy->inode->share->layer;
	char number[16];
	snprintf(number, sizeof(number), "%d", copy->fd);
	if (copy->fd >= 0 ? linkat(s->proc, number, copy->to, copy->inode->name, AT_SYMLINK_FOLLOW)
			  : renameat2(layer->work, copy->aside, copy->to, copy->inode->name, NOREPLACE))
		return errno == EEXIST ? -ESTALE : -errno;
	return 0;
}

/* Neither the directory that it goes into may be without permissions, nor, if it is one, itself. */
static int name_it_all_the_same(struct fs_session *s, const struct copy *copy)
{
	bool directory = copy->inode->type == S_IFDIR;
	int work = copy->inode->share->layer->work;
	int made = directory ? fd__open(s, work, copy->aside, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0) : -1;
	mode_t mode, made_mode;
	if (directory && made < 0)
		return made;
	int err = fd__lend(s, copy->to, &mode);
	if (!err) {
		err = directory ? fd__lend(s, made, &made_mode) : 0;
		if (!err) {
			err = name_it(s, copy);
			if (directory)
				fd__take_back(s, made, made_mode);
		}
		fd__take_back(s, copy->to, mode);
	}
	if (made >= 0)
		close(made);
	return err;
}

/* Have what was made take its place, which does not show in the directory's times. */
static int take_place(struct fs_session *s, const struct copy *copy)
{
	struct statx before;
	int err = stat__at(copy->to, "", &before);
	if (!err)
		err = name_it(s, copy);
	if (err == -EACCES)
		err = name_it_all_the_same(s, copy);
	return err ? err : layer__restore_times(copy->to, &before);
}

/* --- files --- */

/* A file that has other names, or none that is known, is found by where it came from. */
static bool needs_origin(const struct copy *copy, char origin[static LAYER_NAME])
{
	return copy->stx.stx_nlink > (copy->to < 0 ? 0 : 1) && layer__origin(&copy->stx, origin);
}

static int note_origin(struct fs_session *s, const struct copy *copy, const char *origin)
{
	struct fs_layer *layer = copy->inode->share->layer;
	char number[16];
	snprintf(number, sizeof(number), "%d", copy->fd);
	if (linkat(s->proc, number, layer->index, origin, AT_SYMLINK_FOLLOW))
		return errno == EEXIST ? -ESTALE : -errno;
	layer->indexed = true;
	layer->strayed = layer->strayed || copy->to < 0;
	return 0;
}

/* What is open of the inode is the copy's: the guest reads what it writes. */
static int hand_over(struct fs_inode *inode, int fd)
{
	int err = 0;
	for (struct fs_handle *handle = inode->handles; handle && !err; handle = handle->next)
		err = descriptor__replace(handle->fd, fd);
	return err;
}

static int fill_file(struct fs_session *s, struct copy *copy, int from, bool empty)
{
	char origin[LAYER_NAME];
	struct fs_inode *inode = copy->inode;
	int err = stat__at(from, "", &copy->stx);
	bool indexed = !err && needs_origin(copy, origin);
	int32_t links = indexed ? (int32_t)copy->stx.stx_nlink + inode->links - (copy->to < 0 ? 1 : 2) : 0;
	if (!err)
		err = quota__admit(s, inode->share, empty ? 0 : quota__weight(inode->share, &copy->stx));
	if (!err && !empty)
		err = copy_data(from, copy->fd, (off_t)copy->stx.stx_size);
	if (!err)
		err = quota__admit(s, inode->share, quota__weigh(inode->share, copy->fd));
	if (!err)
		err = copy_attributes(from, copy->fd);
	if (!err)
		err = layer__note_number(copy->fd, inode->number, links);
	if (!err)
		err = owner__copy(s, inode, copy->fd, &copy->stx);
	if (!err && indexed)
		err = note_origin(s, copy, origin);
	if (!err && copy->to >= 0)
		err = take_place(s, copy);
	if (!err)
		inode->links = links;
	return err;
}

/* A file that has no name; where the file system has none of those, one in `work`. */
static int make_file(struct fs_session *s, struct copy *copy)
{
	struct fs_layer *layer = copy->inode->share->layer;
	int fd = fd__open(s, layer->work, ".", O_TMPFILE | O_RDWR, 0600);
	if (fd != -EOPNOTSUPP)
		return fd;
	layer__aside(layer, copy->aside);
	return fd__open(s, layer->work, copy->aside, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR, 0600);
}

static int copy_file(struct fs_session *s, struct copy *copy, bool empty)
{
	struct fs_inode *inode = copy->inode;
	struct statx made;
	int from = inode->handles ? inode->handles->fd : inode__open(s, inode, O_RDONLY);
	if (from < 0)
		return from;
	copy->fd = make_file(s, copy);
	int err = copy->fd < 0 ? copy->fd : fill_file(s, copy, from, empty);
	if (copy->aside[0])
		unlinkat(inode->share->layer->work, copy->aside, 0);
	if (!inode->handles)
		close(from);
	if (!err)
		err = stat__at(copy->fd, "", &made);
	if (!err)
		err = inode__raise(s, inode, &made);
	if (!err)
		quota__changed(s, inode, 0, quota__weight(inode->share, &made));
	if (!err)
		err = hand_over(inode, copy->fd);
	if (copy->fd >= 0)
		close(copy->fd);
	return err;
}

/* --- what is no file --- */

static int make_aside(struct fs_session *s, const struct copy *copy)
{
	char target[PATH_MAX];
	int work = copy->inode->share->layer->work, fd;
	ssize_t n;
	switch (copy->inode->type) {
	case S_IFDIR:
		return mkdirat(work, copy->aside, 0700) ? -errno : 0;
	case S_IFLNK:
		fd = inode__fd(s, copy->inode);
		n = fd < 0 ? -1 : readlinkat(fd, "", target, sizeof(target) - 1);
		if (n < 0)
			return fd < 0 ? fd : -errno;
		target[n] = 0;
		return symlinkat(target, work, copy->aside) ? -errno : 0;
	case S_IFIFO:
	case S_IFSOCK:
		return mknodat(work, copy->aside, copy->inode->type | 0600, 0) ? -errno : 0;
	default: /* devices are made by nobody */
		return -EPERM;
	}
}

/* What was made aside is to be as the inode is, which is open as `fd` where it is a directory. */
static int liken(struct fs_session *s, const struct copy *copy, int fd)
{
	int made = fd__open(s, copy->inode->share->layer->work, copy->aside,
			    fd >= 0 ? O_RDONLY | O_DIRECTORY | O_NOFOLLOW : O_PATH | O_NOFOLLOW, 0);
	int err = made < 0 ? made : 0;
	if (!err && fd >= 0)
		err = copy_attributes(fd, made);
	if (!err && fd >= 0)
		err = layer__note_number(made, copy->inode->number, 0);
	if (!err)
		err = owner__copy(s, copy->inode, made, &copy->stx);
	if (made >= 0)
		close(made);
	return err;
}

static int reopen_handles(struct fs_session *s, struct fs_inode *inode)
{
	if (!inode->handles)
		return 0;
	int fd = inode__open(s, inode, O_RDONLY | O_DIRECTORY);
	int err = fd < 0 ? fd : hand_over(inode, fd);
	if (fd >= 0)
		close(fd);
	return err;
}

static int copy_other(struct fs_session *s, struct copy *copy)
{
	struct fs_inode *inode = copy->inode;
	struct fs_layer *layer = inode->share->layer;
	struct statx made;
	int from = inode->type == S_IFDIR ? inode__open(s, inode, O_RDONLY | O_DIRECTORY) : -1;
	int err = inode__stat(s, inode, &copy->stx);
	if (!err && inode->type != S_IFDIR) /* nothing could be removed without directories */
		err = quota__admit(s, inode->share, QUOTA_LEAST);
	layer__aside(layer, copy->aside);
	if (!err)
		err = make_aside(s, copy);
	if (!err) {
		err = liken(s, copy, from);
		if (!err)
			err = stat__at(layer->work, copy->aside, &made);
		if (!err)
			err = take_place(s, copy);
		if (err)
			unlinkat(layer->work, copy->aside, inode->type == S_IFDIR ? AT_REMOVEDIR : 0);
	}
	if (from >= 0)
		close(from);
	if (!err)
		err = inode__raise(s, inode, &made);
	if (!err)
		quota__changed(s, inode, 0, quota__weight(inode->share, &made));
	return err || inode->type != S_IFDIR ? err : reopen_handles(s, inode);
}

/* --- what is to be copied --- */

static int own_other(struct fs_session *s, struct fs_inode *inode)
{
	struct copy copy = {.inode = inode, .fd = -1, .to = place_of(s, inode)};
	layer__note_copy(inode->share->layer, inode->number);
	return copy.to < 0 ? copy.to : copy_other(s, &copy);
}

/* The uppermost first. */
static int own_directories(struct fs_session *s, struct fs_inode *inode)
{
	int err = 0;
	while (!err && inode && !inode->upper) {
		struct fs_inode *first = inode;
		unsigned depth = 0;
		while (first->parent && !first->parent->upper && depth++ < FS_DEPTH_MAX)
			first = first->parent;
		err = depth > FS_DEPTH_MAX ? -ENAMETOOLONG : own_other(s, first);
	}
	return err;
}

/* A file that is open is changed wherever its name leads to by now: its copy lives as long as it is open. */
static int own_file(struct fs_session *s, struct fs_inode *inode, bool empty)
{
	struct copy copy = {.inode = inode, .fd = -1, .to = place_of(s, inode)};
	bool stray = copy.to == -ESTALE && inode->handles;
	if (copy.to < 0 && !stray)
		return copy.to;
	layer__note_copy(inode->share->layer, inode->number);
	int err = copy_file(s, &copy, empty);
	if (err)
		return err;
	changes__unwatch(s, inode);
	if (stray && inode->parent)
		inode__unlinked(s, inode, inode->parent, inode->name);
	return 0;
}

int union__own(struct fs_session *s, struct fs_inode *inode, bool empty)
{
	if (!inode->share->layer || inode->upper)
		return 0;
	if (inode->type == S_IFDIR)
		return own_directories(s, inode);
	inode->refs++;
	int err = own_directories(s, inode->parent);
	if (!err || (err == -ESTALE && inode->handles))
		err = inode->type == S_IFREG ? own_file(s, inode, empty) : own_other(s, inode);
	inode->refs--;
	return err;
}
