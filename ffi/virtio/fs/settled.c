/* What of a layer has been applied: the guest goes on with its own files until the host changes what it has of them.
 * Whoever applies leaves a list in the layer's directory (src/changes/applied.ts), which is read again when it is
 * another one. Each line is of an entry of the layer, told by inode and time of change, and of what the host had
 * afterwards. */
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
};

static unsigned long long ns_of(const struct statx_timestamp *time)
{
	return (unsigned long long)time->tv_sec * 1000000000 + time->tv_nsec;
}

static int by_entry(const void *a, const void *b)
{
	const struct settled *one = a, *other = b;
	if (one->ino != other->ino)
		return one->ino < other->ino ? -1 : 1;
	return one->changed < other->changed ? -1 : one->changed > other->changed;
}

static size_t parse(char *text, struct settled *to, size_t room)
{
	size_t count = 0;
	char *next;
	for (char *line = text; line && *line && count < room; line = next) {
		struct settled *one = &to[count];
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		count += sscanf(line, "%llu %llu %llu %llu", &one->ino, &one->changed, &one->its_ino,
				&one->its_changed) == 4;
	}
	return count;
}

static void load(struct fs_layer *layer, int fd, size_t size)
{
	char *text = malloc(size + 1);
	struct settled *settled = text ? calloc(size / 8 + 1, sizeof(*settled)) : NULL;
	ssize_t n = settled ? read(fd, text, size) : -1;
	free(layer->settled);
	layer->settled = NULL;
	layer->settled_count = 0;
	if (n >= 0) {
		text[n] = 0;
		layer->settled_count = parse(text, settled, size / 8 + 1);
		layer->settled = realloc(settled, (layer->settled_count + 1) * sizeof(*settled));
		if (!layer->settled)
			layer->settled = settled;
		qsort(layer->settled, layer->settled_count, sizeof(*settled), by_entry);
	} else {
		free(settled);
	}
	free(text);
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

/* Whether what shows through the directory is what the share has at its path: else the list is of something else. */
static bool is_straight(const struct fs_inode *dir)
{
	for (; !dir->root; dir = dir->parent) {
		const struct fs_inode *under = dir->under;
		if (!under || !dir->parent || under->parent != dir->parent || strcmp(under->name, dir->name) != 0)
			return false;
	}
	return true;
}

bool settled__is_overtaken(struct fs_session *s, struct fs_inode *dir, const char *name, const struct statx *own)
{
	struct fs_layer *layer = dir->share->layer;
	struct statx below;
	struct settled key = {.ino = own->stx_ino, .changed = ns_of(&own->stx_ctime)};
	refresh(s, layer);
	const struct settled *found = NULL;
	if (layer->settled_count)
		found = bsearch(&key, layer->settled, layer->settled_count, sizeof(key), by_entry);
	if (!found || !is_straight(dir))
		return false;
	int fd = inode__fd(s, dir->under);
	if (fd < 0)
		return false;
	int err = stat__at(fd, name, &below);
	if (err)
		return err == -ENOENT && found->its_ino;
	return found->its_ino != below.stx_ino || found->its_changed != ns_of(&below.stx_ctime);
}
