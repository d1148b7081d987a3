/* The directories that an inotify instance watches. */
#include "tree/watched.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { FIRST_BUCKETS = 64 };

int watched__begin(struct watched *watched, uint32_t mask)
{
	*watched = (struct watched){.mask = mask, .fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
	return watched->fd < 0 ? -errno : 0;
}

static struct watched_dir **bucket(const struct watched *watched, int wd)
{
	return &watched->buckets[(size_t)wd & (watched->bucket_count - 1)];
}

static void hash_in(struct watched *watched, struct watched_dir *dir)
{
	struct watched_dir **at = bucket(watched, dir->wd);
	dir->next_in_bucket = *at;
	*at = dir;
}

/* Keep about one directory a bucket. Without memory for more it only gets slower. */
static int hash_grow(struct watched *watched)
{
	struct watched_dir **old = watched->buckets;
	size_t old_count = watched->bucket_count;
	if (watched->count < old_count)
		return 0;
	struct watched_dir **grown = calloc(old_count ? old_count * 2 : FIRST_BUCKETS, sizeof(struct watched_dir *));
	if (!grown)
		return old ? 0 : -ENOMEM;
	watched->buckets = grown;
	watched->bucket_count = old_count ? old_count * 2 : FIRST_BUCKETS;
	for (size_t i = 0; i < old_count; i++) {
		struct watched_dir *next;
		for (struct watched_dir *dir = old[i]; dir; dir = next) {
			next = dir->next_in_bucket;
			hash_in(watched, dir);
		}
	}
	free(old);
	return 0;
}

struct watched_dir *watched__find(const struct watched *watched, int wd)
{
	struct watched_dir *dir = watched->bucket_count ? *bucket(watched, wd) : NULL;
	while (dir && dir->wd != wd)
		dir = dir->next_in_bucket;
	return dir;
}

struct watched_dir *watched__child(const struct watched_dir *parent, const char *name)
{
	struct watched_dir *child = parent->children;
	while (child && strcmp(child->name, name) != 0)
		child = child->next;
	return child;
}

static void join(struct watched_dir *dir, struct watched_dir *parent)
{
	dir->parent = parent;
	dir->prev = NULL;
	dir->next = parent ? parent->children : NULL;
	if (dir->next)
		dir->next->prev = dir;
	if (parent)
		parent->children = dir;
}

static void leave(struct watched_dir *dir)
{
	if (dir->prev)
		dir->prev->next = dir->next;
	else if (dir->parent)
		dir->parent->children = dir->next;
	if (dir->next)
		dir->next->prev = dir->prev;
	dir->parent = dir->next = dir->prev = NULL;
}

int watched__move(struct watched_dir *dir, struct watched_dir *parent, const char *name)
{
	for (const struct watched_dir *above = parent; above; above = above->parent)
		if (above == dir)
			return -ELOOP;
	char *copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	free(dir->name);
	dir->name = copy;
	leave(dir);
	join(dir, parent);
	return 0;
}

int watched__add(struct watched *watched, int fd, struct watched_dir *parent, const char *name,
		 struct watched_dir **out)
{
	char path[32];
	uint32_t mask = watched->mask | IN_ONLYDIR | (parent ? 0 : IN_DELETE_SELF | IN_MOVE_SELF);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* this very directory, whatever has its name by now */
	int wd = inotify_add_watch(watched->fd, path, mask);
	if (wd < 0)
		return -errno;
	struct watched_dir *dir = watched__find(watched, wd);
	if (dir) {
		*out = dir;
		return dir == watched->root ? 0 : watched__move(dir, parent, name); /* the root, by a mount of it */
	}
	int err = hash_grow(watched);
	dir = err ? NULL : calloc(1, sizeof(*dir));
	if (dir)
		dir->name = strdup(name);
	if (!dir || !dir->name) {
		free(dir);
		inotify_rm_watch(watched->fd, wd);
		return -ENOMEM;
	}
	dir->wd = wd;
	join(dir, parent);
	hash_in(watched, dir);
	watched->count++;
	if (!parent)
		watched->root = dir;
	*out = dir;
	return 1;
}

/* Without those below it, of which there are none any more. */
static void free_one(struct watched *watched, struct watched_dir *dir)
{
	struct watched_dir **at = bucket(watched, dir->wd);
	while (*at != dir)
		at = &(*at)->next_in_bucket;
	*at = dir->next_in_bucket;
	inotify_rm_watch(watched->fd, dir->wd); /* refused where the directory is gone */
	leave(dir);
	if (watched->root == dir)
		watched->root = NULL;
	watched->count--;
	free(dir->name);
	free(dir);
}

void watched__remove(struct watched *watched, struct watched_dir *dir)
{
	struct watched_dir *at = dir, *above;
	do {
		while (at->children)
			at = at->children;
		above = at->parent;
		if (at == dir)
			above = NULL;
		free_one(watched, at);
		at = above;
	} while (at);
}

int watched__descend(const struct watched_dir *dir, struct tree_path *path)
{
	if (!dir->parent)
		return 0;
	int err = watched__descend(dir->parent, path);
	return err ? err : tree_path__push(path, dir->name);
}

void watched__end(struct watched *watched)
{
	if (watched->fd < 0)
		return;
	close(watched->fd);
	watched->fd = -1;
	if (watched->root)
		watched__remove(watched, watched->root);
	free(watched->buckets);
	*watched = (struct watched){.fd = -1};
}
