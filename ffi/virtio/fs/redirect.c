/* Directories that were renamed: what shows through one is still where it was in the shared directory. An attribute of
 * the one in the layer names that place, and tells the directory there from every other one. A VMM that a guest has
 * taken over may have written anything there: names are walked one at a time, below the share, and no link is followed.
 * Once the shared directory has all of it at its new place, an apply takes the attribute away (src/changes/sources.ts).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "virtio/fs/layer.h"

#define REDIRECT LAYER_ATTRIBUTES "redirect" /* src/changes reads it, too */

enum { VALUE_MAX = 3500 }; /* bytes: what ext4 has room for */

/* "INODE-BIRTH", as src/host/identity.ts has it; false where nothing tells a number's owners from one another. */
static bool identity(const struct statx *stx, char *to, size_t size)
{
	if (!(stx->stx_mask & STATX_BTIME))
		return false;
	snprintf(to, size, "%llu-%lld", (unsigned long long)stx->stx_ino,
		 (long long)stx->stx_btime.tv_sec * 1000000000 + stx->stx_btime.tv_nsec);
	return true;
}

/* The names of the place, each behind a '/', at the end of the buffer: where they begin; NULL where it has no room. */
static const char *put_place(const struct fs_inode *under, char *buffer, size_t size)
{
	char *end = buffer + size - 1;
	*end = 0;
	for (const struct fs_inode *at = under; at && !at->root; at = inode__above(at)) {
		size_t len = at->name ? strlen(at->name) : SIZE_MAX;
		if (len >= (size_t)(end - buffer))
			return NULL;
		end -= len + 1;
		end[0] = '/';
		memcpy(end + 1, at->name, len);
	}
	return end;
}

int redirect__note(struct fs_session *s, struct fs_inode *dir)
{
	char place[VALUE_MAX - 64], value[VALUE_MAX], who[64];
	struct statx stx;
	int err = inode__stat(s, dir->under, &stx);
	if (err)
		return err;
	if (!identity(&stx, who, sizeof(who)))
		return -EXDEV;
	const char *path = put_place(dir->under, place, sizeof(place));
	if (!path || !*path)
		return -EXDEV;
	int len = snprintf(value, sizeof(value), "%s%s", who, path);
	int fd = inode__open(s, dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	if (fsetxattr(fd, REDIRECT, value, (size_t)len, 0))
		err = errno == ENOSPC || errno == E2BIG || errno == ERANGE ? -EXDEV : -errno;
	close(fd);
	dir->redirected = dir->redirected || !err;
	return err;
}

bool redirect__is_noted(int fd)
{
	return fgetxattr(fd, REDIRECT, NULL, 0) > 0;
}

bool redirect__is_kept(struct fs_session *s, struct fs_inode *dir)
{
	int fd = inode__open(s, dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return true; /* nobody can say */
	bool kept = fgetxattr(fd, REDIRECT, NULL, 0) >= 0 || errno != ENODATA;
	close(fd);
	return kept;
}

/* The directory `name` of the shared directory `above`; of the last one, which is to be `who`, what shows through
 * `dir`. *at, a way to the next one, is not known to the guest, and the caller's. */
static int step(struct fs_session *s, struct fs_inode *dir, struct fs_inode **at, const char *name, const char *who)
{
	struct fs_inode *root = dir->share->root, *above = *at == root ? root->under : *at, *next = NULL;
	struct statx stx;
	char found[64];
	int fd = inode__fd(s, above);
	int err = fd < 0 ? fd : stat__at(fd, name, &stx);
	if (!err && !S_ISDIR(stx.stx_mode))
		err = -ENOENT;
	if (!err && who && (!identity(&stx, found, sizeof(found)) || strcmp(found, who) != 0))
		err = -ENOENT;
	if (!err)
		err = who ? inode__set_under(s, dir, *at, name, &stx)
			  : inode__new_under(s, dir->share, *at, name, &stx, &next);
	if (*at != root) {
		(*at)->refs--;
		inode__put(s, *at);
	}
	*at = next;
	return err;
}

static bool is_name(const char *name)
{
	size_t len = strlen(name);
	return len && len <= NAME_MAX && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

int redirect__follow(struct fs_session *s, struct fs_inode *dir)
{
	char value[VALUE_MAX + 1];
	struct fs_inode *at = dir->share->root;
	int fd = inode__open(s, dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	ssize_t n = fgetxattr(fd, REDIRECT, value, VALUE_MAX);
	close(fd);
	if (n <= 0 || memchr(value, 0, (size_t)n))
		return -ENOENT;
	value[n] = 0;
	char *name = strchr(value, '/'), *next;
	int err = 0;
	for (; !err && name; name = next) {
		*name++ = 0;
		next = strchr(name, '/');
		if (next)
			*next = 0;
		err = is_name(name) ? step(s, dir, &at, name, next ? NULL : value) : -ENOENT;
		if (next)
			*next = '/';
	}
	if (at && at != dir->share->root) { /* a name that is none, behind one that is */
		at->refs--;
		inode__put(s, at);
	}
	return err == -ESTALE || err == -ENOTDIR ? -ENOENT : err;
}

bool redirect__leads_on(struct fs_session *s, const struct fs_inode *dir)
{
	struct fs_inode *above = dir->under ? inode__above(dir->under) : NULL;
	struct statx stx;
	int fd = above ? inode__fd(s, above) : -1;
	return fd >= 0 && !stat__at(fd, dir->under->name, &stx) && inode__is(dir->under, &stx);
}
