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
	struct stat status;
	int error;

	memcpy(name, path, length);
	name[length] = '\0';
	if (mkdir(name, 0755) == 0)
		return 0;
	error = errno;
	/* a read-only file system answers before it looks */
	if (error == EEXIST || (error == EROFS && stat(name, &status) == 0 && S_ISDIR(status.st_mode)))
		return 0;
	return -error;
}

static int make_up_to(const char *path, size_t end)
{
	int error = 0;

	if (end >= PATH_MAX)
		return -ENAMETOOLONG;
	for (size_t at = 1; at < end && !error; at++)
		if (path[at] == '/' && path[at - 1] != '/')
			error = make(path, at);
	return error;
}

int directories__make(const char *path)
{
	size_t length = strlen(path);
	int error = make_up_to(path, length);

	return error ? error : make(path, length);
}

int directories__make_above(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;
	int error = make_up_to(path, length);

	return error || !length ? error : make(path, length);
}
