/* Makes a tree: every name is a name in an open directory, and what it leads to is opened without following links. */
#include "tree/plant.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ATTEMPTS = 100 };

int plant__begin(struct plant *plant, const char *path)
{
	char *resolved = realpath(path, NULL);
	int err = tree_path__set(&plant->path, resolved ? resolved : path);
	free(resolved);
	plant->fd = plant->levels[0].fd = -1;
	if (err)
		return err;
	char *slash = strrchr(plant->path.text, '/');
	*slash = '\0';
	plant->levels[0].fd =
		open(slash == plant->path.text ? "/" : plant->path.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = plant->levels[0].fd < 0 ? -errno : 0;
	*slash = '/';
	return err;
}

static bool is_same(const struct stat *one, const struct stat *other)
{
	return one->st_ino == other->st_ino && one->st_dev == other->st_dev;
}

bool plant__is_within(const struct plant *plant, const struct stat *status)
{
	struct stat at, below = {0};
	int fd = dup(plant->levels[0].fd);
	bool found = fstatat(fd, tree_path__name(&plant->path), &at, AT_SYMLINK_NOFOLLOW) == 0 && is_same(&at, status);
	/* ".." of the root directory is itself */
	while (!found && fd >= 0 && fstat(fd, &at) == 0 && !is_same(&at, &below)) {
		int above = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		found = is_same(&at, status);
		below = at;
		close(fd);
		fd = above;
	}
	if (fd >= 0)
		close(fd);
	return found;
}

static int here(const struct plant *plant)
{
	return plant->levels[plant->depth].fd;
}

/* plant->path becomes that of `name`. Returns the name, or NULL without memory. */
static const char *go_to(struct plant *plant, const char *name)
{
	if (plant->depth && tree_path__push(&plant->path, name))
		return NULL;
	return tree_path__name(&plant->path);
}

/* After what go_to went to is done. */
static void go_back(struct plant *plant)
{
	tree_path__pop(&plant->path);
}

static const char *temporary_name(struct plant *plant)
{
	static unsigned serial;
	snprintf(plant->temporary, sizeof(plant->temporary), ".capsa-%d-t%u", (int)getpid(), serial++);
	return plant->temporary;
}

/* The mode comes after the owner, as chown clears set-id bits. */
static int adorn(int fd, const struct plant_attributes *attributes)
{
	const struct timespec times[2] = {attributes->mtime, attributes->mtime};
	if ((attributes->has_owner && fchown(fd, attributes->user, attributes->group)) ||
	    fchmod(fd, attributes->mode) || futimens(fd, times))
		return -errno;
	return 0;
}

/* The same of something that is not to be opened, but its mode. */
static int adorn_name(int at, const char *name, const struct plant_attributes *attributes)
{
	const struct timespec times[2] = {attributes->mtime, attributes->mtime};
	if ((attributes->has_owner && fchownat(at, name, attributes->user, attributes->group, AT_SYMLINK_NOFOLLOW)) ||
	    utimensat(at, name, times, AT_SYMLINK_NOFOLLOW))
		return -errno;
	return 0;
}

int plant__enter(struct plant *plant, const char *given, const struct plant_attributes *attributes)
{
	const char *name = go_to(plant, given);
	if (!name)
		return -ENOMEM;
	if (plant->depth == TREE_DEPTH)
		return -ENAMETOOLONG;
	bool made = mkdirat(here(plant), name, 0700) == 0;
	if (!made && errno != EEXIST)
		return -errno;
	int fd = openat(here(plant), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	plant->levels[++plant->depth] = (struct plant_level){.fd = fd, .made = made, .attributes = *attributes};
	return 0;
}

int plant__leave(struct plant *plant)
{
	struct plant_level *level = &plant->levels[plant->depth];
	int err = level->made ? adorn(level->fd, &level->attributes) : 0;
	if (err)
		return err;
	close(level->fd);
	plant->depth--;
	go_back(plant);
	return 0;
}

int plant__open(struct plant *plant, const char *given, const struct plant_attributes *attributes)
{
	if (!go_to(plant, given))
		return -ENOMEM;
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		plant->fd = openat(here(plant), temporary_name(plant),
				   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (plant->fd >= 0 || errno != EEXIST)
			break;
	}
	if (plant->fd < 0)
		return -errno;
	plant->size = 0;
	plant->attributes = *attributes;
	return 0;
}

int plant__write(struct plant *plant, const uint8_t *bytes, size_t length)
{
	while (length) {
		ssize_t n = pwrite(plant->fd, bytes, length, (off_t)plant->size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		plant->size += (uint64_t)n;
		bytes += n;
		length -= (size_t)n;
	}
	return 0;
}

int plant__skip(struct plant *plant, uint64_t length)
{
	if (length > INT64_MAX - plant->size)
		return -EFBIG;
	plant->size += length;
	return 0;
}

int plant__close(struct plant *plant)
{
	int err = ftruncate(plant->fd, (off_t)plant->size) ? -errno : adorn(plant->fd, &plant->attributes);
	if (err)
		return err;
	if (renameat(here(plant), plant->temporary, here(plant), tree_path__name(&plant->path)))
		return -errno;
	close(plant->fd);
	plant->fd = -1;
	go_back(plant);
	return 0;
}

/* What `make` makes under a name, in place of what has it now. */
static int replace(struct plant *plant, int (*make)(int at, const char *name, const void *what), const void *what)
{
	const char *name = tree_path__name(&plant->path);
	int err = make(here(plant), name, what);
	if (err != -EEXIST)
		return err;
	for (int attempt = 0; attempt < ATTEMPTS && err == -EEXIST; attempt++)
		err = make(here(plant), temporary_name(plant), what);
	if (err)
		return err;
	err = renameat(here(plant), plant->temporary, here(plant), name) ? -errno : 0;
	/* two links of one file: rename does nothing then */
	unlinkat(here(plant), plant->temporary, 0);
	return err;
}

static int make_symlink(int at, const char *name, const void *target)
{
	return symlinkat(target, at, name) ? -errno : 0;
}

int plant__symlink(struct plant *plant, const char *given, const char *target,
		   const struct plant_attributes *attributes)
{
	if (!go_to(plant, given))
		return -ENOMEM;
	int err = replace(plant, make_symlink, target);
	if (!err)
		err = adorn_name(here(plant), tree_path__name(&plant->path), attributes);
	if (!err)
		go_back(plant);
	return err;
}

struct node {
	mode_t mode;
	dev_t device;
};

static int make_node(int at, const char *name, const void *what)
{
	const struct node *node = what;
	return mknodat(at, name, node->mode, node->device) ? -errno : 0;
}

int plant__node(struct plant *plant, const char *given, mode_t type, dev_t device,
		const struct plant_attributes *attributes)
{
	struct node node = {.mode = type | (attributes->mode & 0777), .device = device};
	if (!go_to(plant, given))
		return -ENOMEM;
	mode_t mask = umask(0);
	int err = replace(plant, make_node, &node);
	umask(mask);
	if (!err)
		err = adorn_name(here(plant), tree_path__name(&plant->path), attributes);
	if (!err)
		go_back(plant);
	return err;
}

struct linked {
	int at;
	const char *name;
};

static int make_link(int at, const char *name, const void *what)
{
	const struct linked *linked = what;
	return linkat(linked->at, linked->name, at, name, 0) ? -errno : 0;
}

/* The directory that holds what `target`, which is cut into its names, leads to; *last is its name there. Returns a
 * descriptor or -errno. */
static int find(const struct plant *plant, char *target, const char **last)
{
	int at = dup(plant->levels[1].fd), below;
	char *slash;
	for (; at >= 0 && (slash = strchr(target, '/')); target = slash + 1) {
		*slash = '\0';
		if (!*target || strcmp(target, ".") == 0 || strcmp(target, "..") == 0) {
			close(at);
			return -EINVAL;
		}
		below = openat(at, target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(at);
		at = below;
	}
	*last = target;
	return at < 0 ? -errno : at;
}

int plant__link(struct plant *plant, const char *given, const char *target)
{
	if (!plant->depth)
		return -EINVAL; /* a root leads to nothing but itself */
	if (!go_to(plant, given))
		return -ENOMEM;
	char *copy = strdup(target);
	if (!copy)
		return -ENOMEM;
	struct linked linked;
	linked.at = find(plant, copy, &linked.name);
	int err = linked.at < 0 ? linked.at : replace(plant, make_link, &linked);
	if (linked.at >= 0)
		close(linked.at);
	free(copy);
	if (!err)
		go_back(plant);
	return err;
}

void plant__end(struct plant *plant)
{
	if (plant->fd >= 0) {
		close(plant->fd);
		unlinkat(here(plant), plant->temporary, 0);
	}
	for (; plant->depth > 0; plant->depth--)
		close(plant->levels[plant->depth].fd);
	if (plant->levels[0].fd >= 0)
		close(plant->levels[0].fd);
	tree_path__free(&plant->path);
}
