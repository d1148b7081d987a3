/* Make the directories of a path. */
#include "process/directories.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* The first `length` bytes of `path` as a directory. */
static int make(const char *path, size_t length)
{
	char name[PATH_MAX];
	memcpy(name, path, length);
	name[length] = '\0';
	if (mkdir(name, 0755) == 0)
		return 0;
	int err = errno;
	struct stat status;
	/* a read-only file system answers before it looks */
	if (err == EEXIST || (err == EROFS && stat(name, &status) == 0 && S_ISDIR(status.st_mode)))
		return 0;
	return -err;
}

static int make_up_to(const char *path, size_t end)
{
	int err = 0;
	if (end >= PATH_MAX)
		return -ENAMETOOLONG;
	for (size_t at = 1; at < end && !err; at++)
		if (path[at] == '/' && path[at - 1] != '/')
			err = make(path, at);
	return err;
}

int directories__make(const char *path)
{
	size_t length = strlen(path);
	int err = make_up_to(path, length);
	return err ? err : make(path, length);
}

int directories__make_above(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;
	int err = make_up_to(path, length);
	return err || !length ? err : make(path, length);
}
