/* What of a layer has been applied: the guest goes on with its own files until the host changes what it has of them.
 * Whoever applies leaves a list in the layer's directory (src/changes/applied.ts), which is read again when it is
 * another one. Each part of it is of an entry of the layer, told by inode, time of change and the path that it was
 * applied by, and of what the host had there afterwards: numbers, a space and the path, with a NUL behind it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "virtio/fs/layer.h"

#define LIST "applied"
#define LOOK_NS 50000000ULL /* it is not looked for more often */

enum { LIST_MAX = 16 << 20 }; /* bytes */

struct settled {
	unsigned long long ino, changed;         /* in the layer */
	unsigned long long its_ino, its_changed; /* in the shared directory; 0: nothing */
	const char *path;                        /* below the share; in the text of the list */
};

static unsigned long long ns_of(const struct statx_timestamp *time)
{
	return (unsigned long long)time->tv_sec * 1000000000 + time->tv_nsec;
}

/* The guest may have given what was applied another name since, and have it applied by that, too. */
static int by_entry(const void *a, const void *b)
{
	const struct settled *one = a, *other = b;
	if (one->ino != other->ino)
		return one->ino < other->ino ? -1 : 1;
	return one->changed < other->changed ? -1 : one->changed > other->changed;
}

static size_t parse(const char *text, const char *end, struct settled *to)
{
	size_t count = 0;
	for (const char *at = text; at < end; at += strlen(at) + 1) {
		struct settled *one = &to[count];
		int path = 0;
		(void)sscanf(at, "%llu %llu %llu %llu%n", &one->ino, &one->changed, &one->its_ino, &one->its_changed,
			     &path);
		one->path = at + path + 1;
		count += path && at[path] == ' ';
	}
	return count;
}

static void forget(struct fs_layer *layer)
{
	free(layer->settled);
	free(layer->settled_text);
	layer->settled = NULL;
	layer->settled_text = NULL;
	layer->settled_count = 0;
}

static void load(struct fs_layer *layer, int fd, size_t size)
{
	size_t parts = 0;
	forget(layer);
	char *text = layer->settled_text = malloc(size + 1);
	ssize_t n = text ? read(fd, text, size) : -1;
	for (ssize_t i = 0; i < n; i++)
		parts += !text[i];
	if (n >= 0)
		layer->settled = calloc(parts + 1, sizeof(*layer->settled));
	if (!layer->settled)
		return;
	text[n] = 0;
	layer->settled_count = parse(text, text + n, layer->settled);
	qsort(layer->settled, layer->settled_count, sizeof(*layer->settled), by_entry);
}

static void refresh(struct fs_session *s, struct fs_layer *layer)
{
	struct statx stx;
	uint64_t now = monotonic_ns();
	if (now < layer->looked + LOOK_NS)
		return;
	layer->looked = now;
	if (stat__at(layer->fd, LIST, &stx) || !S_ISREG(stx.stx_mode) || stx.stx_size > LIST_MAX ||
	    (stx.stx_ino == layer->list_ino && ns_of(&stx.stx_ctime) == layer->list_changed))
		return;
	int fd = fd__open(s, layer->fd, LIST, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0)
		return;
	load(layer, fd, stx.stx_size);
	close(fd);
	layer->list_ino = stx.stx_ino;
	layer->list_changed = ns_of(&stx.stx_ctime);
}

/* Whether the path is that of the entry, by which it has been since, and what shows through the directory is what the
 * share has at its path: else it was applied by another name, or the share has something else there. */
static bool is_at(const char *path, const struct fs_inode *dir, const char *name)
{
	size_t left = strlen(path);
	for (;; dir = dir->parent) {
		size_t len = strlen(name);
		const struct fs_inode *under = dir->under;
		if (left < len || memcmp(path + left - len, name, len) != 0)
			return false;
		left -= len;
		if (dir->root)
			return !left;
		if (!left || path[--left] != '/' || dir->redirected || !under || !dir->parent ||
		    under->parent != dir->parent || strcmp(under->name, dir->name) != 0)
			return false;
		name = dir->name;
	}
}

static const struct settled *find(const struct fs_layer *layer, struct fs_inode *dir, const char *name,
				  const struct statx *own)
{
	const struct settled key = {.ino = own->stx_ino, .changed = ns_of(&own->stx_ctime)};
	if (!layer->settled_count)
		return NULL;
	const struct settled *end = layer->settled + layer->settled_count;
	const struct settled *one = bsearch(&key, layer->settled, layer->settled_count, sizeof(key), by_entry);
	while (one && one > layer->settled && !by_entry(&key, one - 1))
		one--;
	for (; one && one < end && !by_entry(&key, one); one++)
		if (is_at(one->path, dir, name))
			return one;
	return NULL;
}

bool settled__is_overtaken(struct fs_session *s, struct fs_inode *dir, const char *name, const struct statx *own)
{
	struct statx below;
	refresh(s, dir->share->layer);
	const struct settled *found = find(dir->share->layer, dir, name, own);
	int fd = found ? inode__fd(s, dir->under) : -1;
	if (fd < 0)
		return false;
	int err = stat__at(fd, name, &below);
	if (err)
		return err == -ENOENT && found->its_ino;
	return found->its_ino != below.stx_ino || found->its_changed != ns_of(&below.stx_ctime);
}
