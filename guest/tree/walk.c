/* Walks a directory and all below it. Each level keeps its place in an open directory: places in one that was closed do
 * not survive its changes on every file system. */
#include "tree/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int walk__begin(struct walk *walk, const char *path)
{
	size_t length = strlen(path);
	char *resolved = length && path[length - 1] == '/' ? realpath(path, NULL) : NULL;
	int err = tree_path__set(&walk->path, resolved ? resolved : path);
	free(resolved);
	if (err)
		return err;
	return fstatat(AT_FDCWD, walk->path.text, &walk->root, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

bool walk__vanished(const struct walk *walk, int err)
{
	return walk->path.length > walk->path.root && (err == -ENOENT || err == -ENOTDIR || err == -ELOOP);
}

/* Go into the directory of `step`. Returns 1 or -errno. */
static int enter(struct walk *walk, struct walk_step *step)
{
	if (walk->depth == TREE_DEPTH)
		return -ENAMETOOLONG;
	int fd = openat(step->at, step->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	walk->levels[walk->depth] = fstat(fd, &step->status) ? NULL : fdopendir(fd);
	int err;
	if (!walk->levels[walk->depth]) {
		err = -errno;
		close(fd);
		return err;
	}
	walk->depth++;
	step->kind = WALK_ENTER;
	return 1;
}

/* Back out of the innermost directory. */
static int leave(struct walk *walk, struct walk_step *step)
{
	closedir(walk->levels[--walk->depth]);
	step->kind = WALK_LEAVE;
	step->at = walk->depth ? dirfd(walk->levels[walk->depth - 1]) : AT_FDCWD;
	step->name = tree_path__name(&walk->path);
	walk->at_leaf = true; /* its name goes with the next step */
	return 1;
}

void walk__skip(struct walk *walk)
{
	closedir(walk->levels[--walk->depth]);
	walk->at_leaf = true;
}

/* The name that walk->path was just extended by, or the root's. Returns 1, or -errno. */
static int visit(struct walk *walk, struct walk_step *step)
{
	if (fstatat(step->at, step->name, &step->status, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (S_ISDIR(step->status.st_mode))
		return enter(walk, step);
	step->kind = WALK_LEAF;
	walk->at_leaf = true;
	return 1;
}

int walk__next(struct walk *walk, struct walk_step *step)
{
	if (!walk->begun) {
		walk->begun = true;
		step->at = AT_FDCWD;
		step->name = walk->path.text;
		return visit(walk, step);
	}
	for (;;) {
		if (walk->at_leaf) {
			walk->at_leaf = false;
			if (!walk->depth)
				return 0;
			tree_path__pop(&walk->path);
		}
		if (!walk->depth)
			return 0;
		errno = 0;
		const struct dirent *entry = readdir(walk->levels[walk->depth - 1]);
		if (!entry)
			return errno ? -errno : leave(walk, step);
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (tree_path__push(&walk->path, entry->d_name))
			return -ENOMEM;
		step->at = dirfd(walk->levels[walk->depth - 1]);
		step->name = entry->d_name;
		int err = visit(walk, step);
		if (!walk__vanished(walk, err))
			return err;
		walk->at_leaf = true;
	}
}

void walk__end(struct walk *walk)
{
	while (walk->depth)
		closedir(walk->levels[--walk->depth]);
	tree_path__free(&walk->path);
}
