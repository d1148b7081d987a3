/* A shared directory seen through a layer, in which all that the guest changes is kept (a transaction).
 *
 * The layer is as an overlay of Linux has its upper one, for whoever reads it afterwards (src/changes): a file or
 * directory of it stands in place of what has that name below; a character device 0/0 says that nothing has, a
 * whiteout; through a directory the one below shows, unless its attribute OPAQUE says otherwise. An inode of the
 * guest's is in one of the two layers, and a directory of the upper one may have the other `under` it. What is to be
 * changed is copied up before (copy_up.c). The host may change the shared directory meanwhile, so that is looked at
 * each time; the layer is changed here alone.
 */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "virtio/fs/layer.h"

bool union__is_whiteout(const struct statx *stx)
{
	return S_ISCHR(stx->stx_mode) && !stx->stx_rdev_major && !stx->stx_rdev_minor;
}

bool union__is_own(const char *attribute)
{
	return !strncmp(attribute, LAYER_ATTRIBUTES, strlen(LAYER_ATTRIBUTES));
}

/* --- the layer --- */

static int open_part(int layer, const char *name)
{
	int fd = openat(layer, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_parts(struct fs_layer *layer, int *upper)
{
	*upper = open_part(layer->fd, "upper");
	layer->work = open_part(layer->fd, "work");
	if (*upper < 0 || layer->work < 0)
		return *upper < 0 ? *upper : layer->work;
	if (mkdirat(layer->work, "index", 0700) && errno != EEXIST)
		return -errno;
	layer->index = open_part(layer->work, "index");
	return layer->index < 0 ? layer->index : 0;
}

int union__open(struct fs_session *s, struct fs_share *share, int fd)
{
	struct fs_layer *layer = calloc(1, sizeof(*layer));
	struct fs_inode *lower = share->root;
	struct timespec now;
	int upper = -1;
	if (!layer)
		return -ENOMEM;
	clock_gettime(CLOCK_REALTIME_COARSE, &now); /* of which file systems take their times */
	*layer = (struct fs_layer){
		.fd = fd,
		.work = -1,
		.index = -1,
		.serial = (uint64_t)now.tv_sec << 32 | (uint64_t)now.tv_nsec,
		.since = now,
	};
	int err = lower->type == S_IFDIR ? open_parts(layer, &upper) : -ENOTDIR;
	if (!err)
		err = inode__cover_root(s, share, upper);
	if (err) {
		if (upper >= 0)
			close(upper);
		layer->fd = -1; /* it is still the caller's */
		union__close(layer);
		return err;
	}
	share->layer = layer;
	return 0;
}

void union__close(struct fs_layer *layer)
{
	if (!layer)
		return;
	const int fds[] = {layer->fd, layer->work, layer->index};
	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(layer->settled);
	free(layer->settled_text);
	free(layer->copied);
	free(layer);
}

/* --- what an entry is --- */

static int upper_fd(struct fs_session *s, struct fs_inode *dir)
{
	return dir->upper ? inode__fd(s, dir) : -ENOENT;
}

/* That nothing shows through any more, since the host has moved it away, is no error. */
static int lower_fd(struct fs_session *s, struct fs_inode *dir)
{
	if (!dir->upper)
		return inode__fd(s, dir);
	struct fs_inode *under = union__under(s, dir);
	int fd = under ? inode__fd(s, under) : -ENOENT;
	return fd == -ESTALE ? -ENOENT : fd;
}

int union__below(struct fs_session *s, struct fs_inode *dir, const char *name, struct statx *stx)
{
	int fd = lower_fd(s, dir);
	int err = fd < 0 ? fd : stat__at(fd, name, stx);
	return err == -ENOTDIR ? -ENOENT : err;
}

/* Of a file that was copied up by another of its names: this one is to lead to the copy, too. */
static int find_origin(struct fs_session *s, struct fs_inode *dir, const char *name, struct fs_found *found)
{
	struct fs_layer *layer = dir->share->layer;
	char origin[LAYER_NAME];
	bool may_be = layer->indexed && S_ISREG(found->stx.stx_mode) && (layer->strayed || found->stx.stx_nlink > 1);
	if (!may_be || !layer__origin(&found->stx, origin) || stat__at(layer->index, origin, &found->stx))
		return 0;
	int err = layer__link_origin(s, dir, name, origin);
	if (!err)
		err = stat__at(layer->index, origin, &found->stx);
	found->upper = true;
	return err;
}

/* What was applied is dropped once the host has changed it: it is the host's, as all that the guest has not changed.
 * Not what the guest has open to write, nor what has other names. */
static bool drop_overtaken(struct fs_session *s, struct fs_inode *dir, const char *name, const struct statx *own)
{
	struct statx before;
	if (S_ISDIR(own->stx_mode) || own->stx_nlink > 1 || !settled__is_overtaken(s, dir, name, own))
		return false;
	struct fs_inode *inode = inode__find(s, dir->share, own);
	for (const struct fs_handle *handle = inode ? inode->handles : NULL; handle; handle = handle->next)
		if (handle->writable)
			return false;
	int fd = inode__fd(s, dir);
	if (fd < 0 || stat__at(fd, "", &before) || unlinkat(fd, name, 0))
		return false;
	(void)layer__restore_times(fd, &before);
	if (inode)
		inode__unlinked(s, inode, dir, name);
	quota__removed(s, dir->share, inode, own);
	return true;
}

int union__find(struct fs_session *s, struct fs_inode *dir, const char *name, struct fs_found *found)
{
	found->upper = false;
	if (!dir->share->layer) {
		int fd = inode__fd(s, dir);
		return fd < 0 ? fd : stat__at(fd, name, &found->stx);
	}
	if (dir->upper) {
		int fd = inode__fd(s, dir);
		int err = fd < 0 ? fd : stat__at(fd, name, &found->stx);
		found->upper = !err && !drop_overtaken(s, dir, name, &found->stx);
		if (found->upper)
			return union__is_whiteout(&found->stx) ? -ENOENT : 0;
		if (err && err != -ENOENT)
			return err;
	}
	int err = union__below(s, dir, name, &found->stx);
	return err ? err : find_origin(s, dir, name, found);
}

bool union__is_changed(struct fs_session *s, struct fs_inode *dir, const char *name)
{
	struct statx stx;
	int fd = upper_fd(s, dir);
	return fd >= 0 && !stat__at(fd, name, &stx) && !settled__is_overtaken(s, dir, name, &stx);
}

/* --- inodes of what was found --- */

static bool is_later(const struct statx_timestamp *time, const struct timespec *than)
{
	return time->tv_sec != than->tv_sec ? time->tv_sec > than->tv_sec : time->tv_nsec > (uint32_t)than->tv_nsec;
}

/* A copy has the number of what it is a copy of. What is born while the sandbox runs may have been given that, too,
 * where the other is gone: it gets another. */
static uint64_t number_of(const struct fs_share *share, const struct statx *stx, uint64_t dev)
{
	const uint64_t odd = 0x9e3779b97f4a7c15ULL, high = 0x7fffff0000000000;
	uint64_t number = stx->stx_ino;
	if (stat__dev(stx) != dev)
		number ^= stat__dev(stx) * odd & high;
	if (stx->stx_mask & STATX_BTIME && is_later(&stx->stx_btime, &share->layer->since) &&
	    layer__may_be_copy(share->layer, number))
		number ^= ((uint64_t)stx->stx_btime.tv_sec * 1000000000 + stx->stx_btime.tv_nsec) * odd & high;
	return number;
}

/* What the layer has noted of an inode that was not known. */
static int read_notes(struct fs_session *s, int dir, const char *name, struct fs_inode *inode)
{
	struct layer_notes notes = {.number = 0};
	int fd = inode->upper && (inode->type == S_IFREG || inode->type == S_IFDIR)
			 ? fd__open(s, dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0)
			 : -ENODATA;
	if (fd == -EACCES)
		fd = inode__open(s, inode, O_RDONLY);
	if (fd == -ENFILE)
		return fd;
	if (fd >= 0) {
		layer__read_notes(fd, &notes);
		close(fd);
	}
	inode->number = notes.number;
	if (notes.number)
		layer__note_copy(inode->share->layer, notes.number);
	inode->links = notes.links;
	inode->opaque = notes.opaque;
	inode->redirected = notes.redirected;
	return 0;
}

/* Once what is marked has been applied, the mark is gone, and what shows through those below is elsewhere, too. */
static void heed_mark(struct fs_session *s, struct fs_inode *inode)
{
	if (!inode->redirected || redirect__is_kept(s, inode))
		return;
	inode->redirected = false;
	inode->share->layer->unmarked++;
}

/* What shows through a directory of the layer, by now: where it came from, or what has its name. */
static int find_under(struct fs_session *s, struct fs_inode *dir, const char *name, struct fs_inode *inode)
{
	struct statx stx;
	int err = -ENOENT;
	heed_mark(s, inode);
	inode->unmarked = inode->share->layer->unmarked;
	if (inode->redirected && !inode->opaque)
		err = redirect__leads_on(s, inode) ? 0 : redirect__follow(s, inode);
	if (err != -ENOENT)
		return err;
	err = inode->opaque ? -ENOENT : union__below(s, dir, name, &stx);
	if (err && err != -ENOENT && err != -ESTALE)
		return err;
	return inode__set_under(s, inode, dir, name, !err && S_ISDIR(stx.stx_mode) ? &stx : NULL);
}

static int join(struct fs_session *s, struct fs_inode *dir, const char *name, struct fs_inode *inode)
{
	const struct fs_inode *before = inode->under;
	struct fs_key key = before ? before->key : (struct fs_key){.ino = 0};
	int err = find_under(s, dir, name, inode);
	const struct fs_inode *now = inode->under;
	bool same = now ? before && key.ino == now->key.ino && key.dev == now->key.dev : !before;
	if (!err && inode->wd && !same) {
		changes__unwatch(s, inode);
		(void)changes__watch(s, inode);
	}
	return err;
}

/* The uppermost first, so that none is looked for through another one that is out of date. */
struct fs_inode *union__under(struct fs_session *s, struct fs_inode *dir)
{
	const struct fs_layer *layer = dir->share->layer;
	for (struct fs_inode *at = dir; at && at->upper && !at->root; at = at->parent)
		heed_mark(s, at);
	while (!dir->root && dir->unmarked != layer->unmarked) {
		struct fs_inode *first = dir;
		while (first->parent && !first->parent->root && first->parent->unmarked != layer->unmarked)
			first = first->parent;
		first->unmarked = layer->unmarked;
		if (first->parent && first->upper)
			(void)join(s, first->parent, first->name, first);
	}
	return dir->under;
}

void union__applied(struct fs_layer *layer)
{
	layer->unmarked++;
	layer->looked = 0;
}

int union__intern(struct fs_session *s, struct fs_inode *dir, const char *name, const struct fs_found *found,
		  struct fs_inode **out)
{
	struct fs_inode *inode;
	int err = inode__intern(s, dir, name, &found->stx, &inode);
	if (err || !dir->share->layer) {
		*out = inode;
		return err;
	}
	if (!inode->number) {
		inode->upper = found->upper;
		if (found->upper)
			err = read_notes(s, upper_fd(s, dir), name, inode);
		if (!inode->number)
			inode->number = number_of(dir->share, &found->stx, inode->top_dev);
	}
	if (!err && inode->upper && inode->type == S_IFDIR)
		err = join(s, dir, name, inode);
	if (err)
		inode__put(s, inode);
	else
		*out = inode;
	return err;
}

void union__made(struct fs_inode *inode, const struct statx *stx)
{
	inode->upper = true;
	inode->number = number_of(inode->share, stx, inode->top_dev);
}
