/* Removes a file, or a directory and all below it. There is no stack of open directories: the way up is "..", and a
 * directory is known again by its inode. What was read of a directory before is of no interest, as it is gone. */
#include "tree/remove.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP = 128 /* names */ };

/* Go on in the directory `fd`, which is taken over. Returns 0 or -errno. */
static int list(struct removal *removal, int fd)
{
	DIR *listing = fdopendir(fd);
	if (!listing) {
		int err = -errno;
		close(fd);
		return err;
	}
	if (removal->listing)
		closedir(removal->listing);
	removal->listing = listing;
	removal->removed = false;
	return 0;
}

static int add_level(struct removal *removal, const struct stat *status)
{
	if (removal->depth == removal->capacity) {
		size_t capacity = removal->capacity ? removal->capacity * 2 : 16;
		struct removal_level *levels = realloc(removal->levels, capacity * sizeof(*levels));
		if (!levels)
			return -ENOMEM;
		removal->levels = levels;
		removal->capacity = capacity;
	}
	removal->levels[removal->depth++] = (struct removal_level){.device = status->st_dev, .inode = status->st_ino};
	return 0;
}

/* The directory `name` of `at`, which removal->path names, is the next to be emptied. Returns 0 or -errno. */
static int enter(struct removal *removal, int at, const char *name, dev_t device)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int err;
	struct stat status;
	if (fstat(fd, &status))
		err = -errno;
	else if (status.st_dev != device)
		err = -EBUSY; /* a mount point: what is in it is not ours to remove */
	else
		err = add_level(removal, &status);
	if (err) {
		close(fd);
		return err;
	}
	err = list(removal, fd);
	if (err)
		removal->depth--;
	return err;
}

int removal__begin(struct removal *removal, const char *path, bool recursive)
{
	int err = tree_path__set(&removal->path, path);
	removal->above = -1;
	if (err)
		return err;
	const char *name = tree_path__name(&removal->path);
	if (strcmp(removal->path.text, "/") == 0)
		return -EBUSY;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	char *slash = strrchr(removal->path.text, '/');
	*slash = '\0';
	removal->above = open(slash == removal->path.text ? "/" : removal->path.text, O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = removal->above < 0 ? -errno : 0;
	*slash = '/';
	if (err)
		return err;
	struct stat above, status;
	if (fstat(removal->above, &above) || fstatat(removal->above, name, &status, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!S_ISDIR(status.st_mode) || !recursive) {
		if (unlinkat(removal->above, name, S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0))
			return -errno;
		removal->count++;
		return 0;
	}
	err = enter(removal, removal->above, name, above.st_dev);
	return err ? err : 1;
}

/* The directory above the one that is listed, opened by the way it was left. Returns a descriptor or -errno. */
static int open_above(const struct removal *removal)
{
	const struct removal_level *level = &removal->levels[removal->depth - 2];
	int fd = openat(dirfd(removal->listing), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct stat status;
	if (fstat(fd, &status) == 0 && status.st_dev == level->device && status.st_ino == level->inode)
		return fd;
	close(fd);
	return -ESTALE;
}

/* All that was listed is gone: so goes the directory. Returns 1, 0 (it was the root) or -errno. */
static int leave(struct removal *removal)
{
	const char *name = tree_path__name(&removal->path);
	bool is_root = removal->depth == 1;
	int above = is_root ? removal->above : open_above(removal);
	if (above < 0)
		return above;
	int err;
	if (unlinkat(above, name, AT_REMOVEDIR) && errno != ENOENT) {
		err = -errno;
		/* names came while the others went; they go too, as long as that leads anywhere */
		if (err == -ENOTEMPTY && removal->removed) {
			rewinddir(removal->listing);
			removal->removed = false;
			err = 1;
		}
		if (!is_root)
			close(above);
		return err;
	}
	removal->count++;
	if (is_root)
		return 0;
	removal->depth--;
	tree_path__pop(&removal->path);
	err = list(removal, above);
	removal->removed = true;
	return err ? err : 1;
}

/* Returns 0 or -errno, which is about the name pushed to removal->path. */
static int remove_name(struct removal *removal, const char *name)
{
	int at = dirfd(removal->listing);
	if (unlinkat(at, name, 0) == 0) {
		removal->count++;
		removal->removed = true;
		return 0;
	}
	int err = -errno;
	if (err == -ENOENT)
		return 0;
	struct stat status;
	/* what unlink says of a directory depends on the file system */
	if (fstatat(at, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode))
		err = 1;
	if (tree_path__push(&removal->path, name))
		return -ENOMEM;
	if (err == 1)
		err = enter(removal, at, name, removal->levels[removal->depth - 1].device);
	if (err == -ENOENT || err == -ENOTDIR || err == -ELOOP) {
		/* it went, or is something else by now: the next pass sees */
		tree_path__pop(&removal->path);
		removal->removed = true;
		return 0;
	}
	return err;
}

int removal__step(struct removal *removal)
{
	int err = 0;
	for (int i = 0; i < STEP && !err; i++) {
		errno = 0;
		const struct dirent *entry = readdir(removal->listing);
		if (!entry) {
			err = errno ? -errno : leave(removal);
			return err;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			err = remove_name(removal, entry->d_name);
	}
	return err ? err : 1;
}

void removal__end(struct removal *removal)
{
	if (removal->listing)
		closedir(removal->listing);
	if (removal->above >= 0)
		close(removal->above);
	free(removal->levels);
	tree_path__free(&removal->path);
}
