/* Making, removing and renaming entries in the layer of a share: what the shared directory has at their names is hidden
 * by whiteouts, and does not show through a directory that has another name now. Each takes one step. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "virtio/fs/layer.h"

/* rename2() flags, <linux/fs.h>; declared by newer C libraries only. */
enum { NOREPLACE = 1, EXCHANGE = 2, WHITEOUT = 4 };

/* --- new entries --- */

int spot__find(struct fs_session *s, struct fs_inode *dir, const char *name, struct fs_spot *spot)
{
	struct statx stx;
	int fd = inode__fd(s, dir);
	*spot = (struct fs_spot){.dir = fd, .name = name};
	if (fd < 0 || !dir->share->layer)
		return fd < 0 ? fd : quota__admit(s, dir->share, QUOTA_LEAST);
	int err = quota__admit(s, dir->share, QUOTA_LEAST);
	if (err)
		return err;
	err = stat__at(fd, name, &stx);
	if (!err && !union__is_whiteout(&stx))
		return -EEXIST;
	if (err == -ENOENT) {
		err = union__below(s, dir, name, &stx);
		return !err ? -EEXIST : err == -ENOENT ? 0 : err;
	}
	if (err)
		return err;
	spot->covers = true;
	spot->dir = dir->share->layer->work;
	layer__aside(dir->share->layer, spot->aside);
	spot->name = spot->aside;
	return 0;
}

int spot__fill(struct fs_session *s, struct fs_inode *dir, const char *name, struct fs_spot *spot, bool directory)
{
	struct statx below;
	if (!spot->covers)
		return 0;
	int fd = inode__fd(s, dir), err = fd < 0 ? fd : 0;
	if (!err && directory && !union__below(s, dir, name, &below) && S_ISDIR(below.stx_mode))
		err = layer__set_opaque(s, spot->dir, spot->name);
	if (!err && renameat2(spot->dir, spot->name, fd, name, directory ? EXCHANGE : 0))
		err = -errno;
	/* what is left is the whiteout; or what was made, if there is no place for it */
	if (directory || err)
		unlinkat(spot->dir, spot->name, err && directory ? AT_REMOVEDIR : 0);
	return err;
}

/* --- removal --- */

/* Empty a directory of the layer in which nothing is seen, so of whiteouts, and remove it. */
static void purge(struct fs_session *s, int at, const char *name)
{
	_Alignas(struct dirent64) char data[2048];
	int dir = fd__open(s, at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	ssize_t n;
	while (dir >= 0 && (n = getdents64(dir, data, sizeof(data))) > 0) {
		for (ssize_t next = 0; next < n;) {
			const struct dirent64 *d = (const void *)(data + next);
			next += d->d_reclen;
			if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
				(void)!unlinkat(dir, d->d_name, 0);
		}
	}
	if (dir >= 0)
		close(dir);
	(void)!unlinkat(at, name, AT_REMOVEDIR);
}

int union__empty(struct fs_session *s, struct fs_inode *dir)
{
	struct fs_handle handle = {.fd = -1, .inode = dir, .directory = true};
	struct fs_merged_entry entry;
	int err = merged__next(s, &handle, MERGED_DOTS, &entry);
	merged__free(s, &handle);
	return err < 0 ? err : err ? -ENOTEMPTY : 0;
}

static int make_whiteout(int dir, const char *name)
{
	return mknodat(dir, name, S_IFCHR, 0) ? -errno : 0;
}

/* A directory is about to go: what permissions it lacks stand in nobody's way any more. */
static void open_up(struct fs_session *s, int at, const char *name)
{
	mode_t mode;
	int fd = fd__open(s, at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return;
	(void)!fd__lend(s, fd, &mode);
	close(fd);
}

int union__remove(struct fs_session *s, struct fs_inode *dir, const char *name, const struct fs_found *found)
{
	struct fs_layer *layer = dir->share->layer;
	struct statx below;
	char aside[LAYER_NAME];
	bool directory = S_ISDIR(found->stx.stx_mode);
	bool covers = !union__below(s, dir, name, &below);
	int fd = inode__fd(s, dir);
	if (fd < 0)
		return fd;
	if (!found->upper)
		return make_whiteout(fd, name);
	if (!covers && !unlinkat(fd, name, directory ? AT_REMOVEDIR : 0))
		return 0;
	if (!covers && (!directory || (errno != ENOTEMPTY && errno != EEXIST)))
		return -errno;
	layer__aside(layer, aside);
	int err = covers ? make_whiteout(layer->work, aside) : 0;
	if (!err && directory)
		open_up(s, fd, name);
	if (!err && !covers)
		err = renameat(fd, name, layer->work, aside) ? -errno : 0;
	else if (!err)
		err = renameat2(layer->work, aside, fd, name, directory ? EXCHANGE : 0) ? -errno : 0;
	if (err && covers)
		unlinkat(layer->work, aside, 0);
	else if (!err && directory)
		purge(s, layer->work, aside);
	return err;
}

void union__unmake(struct fs_session *s, struct fs_inode *dir, const char *name, bool directory)
{
	struct fs_found found;
	if (dir->share->layer && !union__find(s, dir, name, &found))
		(void)union__remove(s, dir, name, &found);
	else if (!dir->share->layer)
		(void)!unlinkat(inode__fd(s, dir), name, directory ? AT_REMOVEDIR : 0);
}

/* --- renames --- */

/* Nothing is to show through the directory in its new place, but what has shown. */
static int close_off(struct fs_session *s, struct fs_inode *to, const char *name, struct fs_inode *moved)
{
	struct statx below;
	if (moved->opaque || union__below(s, to, name, &below) || !S_ISDIR(below.stx_mode))
		return 0;
	int fd = inode__open(s, moved, O_RDONLY);
	int err = fd < 0 ? fd : layer__note_opaque(fd);
	if (fd >= 0)
		close(fd);
	moved->opaque = !err;
	return err;
}

/* What shows through a directory is to go on showing, and nothing else to begin. */
static int prepare(struct fs_session *s, struct fs_inode *to, const char *name, struct fs_inode *moved)
{
	if (moved->type != S_IFDIR)
		return 0;
	return moved->under ? redirect__note(s, moved) : close_off(s, to, name, moved);
}

static int exchange(struct fs_session *s, struct fs_inode *from, const char *name, struct fs_inode *moved,
		    struct fs_inode *to, const char *new_name, struct fs_inode *target)
{
	int err = prepare(s, to, new_name, moved);
	if (!err)
		err = prepare(s, from, name, target);
	if (err)
		return err;
	int fd = inode__fd(s, from), to_fd = fd < 0 ? fd : inode__fd(s, to);
	return to_fd < 0 ? to_fd : renameat2(fd, name, to_fd, new_name, EXCHANGE) ? -errno : 0;
}

/* A directory in which nothing is seen, and which is to be replaced in one step, has to be empty. */
static int clear(struct fs_session *s, struct fs_inode *to, const char *name, struct fs_inode *target)
{
	struct fs_layer *layer = to->share->layer;
	char aside[LAYER_NAME];
	int fd = inode__fd(s, to);
	layer__aside(layer, aside);
	int err = fd < 0 ? fd : mkdirat(layer->work, aside, 0700) ? -errno : layer__set_opaque(s, layer->work, aside);
	if (err)
		return err;
	if (target->upper ? renameat2(layer->work, aside, fd, name, EXCHANGE)
			  : renameat2(layer->work, aside, fd, name, NOREPLACE))
		err = -errno;
	if (err || target->upper)
		purge(s, layer->work, aside);
	return err;
}

int union__rename(struct fs_session *s, struct fs_inode *from, const char *name, struct fs_inode *moved,
		  struct fs_inode *to, const char *new_name, struct fs_inode *target, unsigned flags)
{
	struct statx stx;
	bool directory = moved->type == S_IFDIR;
	if (flags & EXCHANGE)
		return exchange(s, from, name, moved, to, new_name, target);
	int err = prepare(s, to, new_name, moved);
	if (!err && target && directory)
		err = clear(s, to, new_name, target);
	if (err)
		return err;
	int fd = inode__fd(s, from), to_fd = fd < 0 ? fd : inode__fd(s, to);
	if (to_fd < 0)
		return to_fd;
	bool covers = !union__below(s, from, name, &stx);
	bool onto_whiteout = !stat__at(to_fd, new_name, &stx) && union__is_whiteout(&stx);
	if (directory && onto_whiteout) { /* which no directory can replace */
		if (renameat2(fd, name, to_fd, new_name, EXCHANGE))
			return -errno;
		if (!covers)
			unlinkat(fd, name, 0);
		return 0;
	}
	return renameat2(fd, name, to_fd, new_name, covers ? WHITEOUT : 0) ? -errno : 0;
}
