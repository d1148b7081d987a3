/* What is left to do when a VMM is over: its logs are put away and its runtime directory goes. */
#include "vmm/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 64

int cleanup__check(const char *runtime_dir, struct failure *why)
{
	struct stat st;
	if (lstat(runtime_dir, &st) < 0)
		return failure__set(why, errno, NULL, "runtimeDir %s cannot be used (%s); the caller has to make it",
				    runtime_dir, failure__errno_name(errno));
	if (!S_ISDIR(st.st_mode))
		return failure__set(why, ENOTDIR, NULL, "runtimeDir %s is not a directory", runtime_dir);
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return failure__set(
			why, EPERM, NULL,
			"runtimeDir %s must belong to this user and be closed to others (mode 0700), because "
			"it holds the sandbox's sockets and is removed at the end",
			runtime_dir);
	return 0;
}

/* Empty the directory; fd is closed. */
static void empty(int fd, int depth)
{
	DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return;
	}
	const struct dirent *entry;
	while ((entry = readdir(dir)) != NULL) {
		const char *name = entry->d_name;
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || unlinkat(dirfd(dir), name, 0) == 0)
			continue;
		int inner = depth < MAX_DEPTH
				    ? openat(dirfd(dir), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
				    : -1;
		if (inner < 0)
			continue;
		empty(inner, depth + 1);
		unlinkat(dirfd(dir), name, AT_REMOVEDIR);
	}
	closedir(dir);
}

/*
 * Where the archive is on another file system the file is copied. The VMM could write here until it ended, and may have
 * been taken over: only a plain file with no second name is a log. A link would show its target to who reads the
 * archive, a FIFO would hold up its reader.
 */
static void move_file(int from_dir, int to_dir, const char *name)
{
	struct stat st;
	if (fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1)
		return;
	if (renameat(from_dir, name, to_dir, name) == 0 || errno != EXDEV)
		return;
	int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	while (from >= 0 && to >= 0 && sendfile(to, from, NULL, 1U << 20) > 0)
		;
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
}

void cleanup__run(const char *runtime_dir, const char *archive)
{
	int fd = open(runtime_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	int to = archive ? open(archive, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (to >= 0) {
		move_file(fd, to, CONSOLE_LOG);
		move_file(fd, to, EVENTS_LOG);
		move_file(fd, to, NETWORK_LOG);
		move_file(fd, to, SECRETS_LOG);
		close(to);
	}
	empty(fd, 0);
	rmdir(runtime_dir);
}
