/* What is left to do when a VMM is over: its logs are put away and its runtime directory goes. */
#include "vmm/keeper/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/errno_name.h"
#include "vmm/build/config.h"

#define PATIENCE_NS 2000000000 /* a VMM that was taken over and lives may fill what is emptied */
#define COPY_AT_ONCE (1U << 20)
#define MAX_DEPTH 64 /* each level is a descriptor: what is deeper is moved up before */

int cleanup__check(const char *runtime_dir, struct failure *why)
{
	struct stat st;
	if (lstat(runtime_dir, &st) < 0)
		return failure__set(why, errno, NULL, "runtimeDir %s cannot be used (%s); the caller has to make it",
				    runtime_dir, errno_name(errno));
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

/* A directory in `fd`, opened to be emptied: whoever made it may have taken all permissions away. */
static int enter(int fd, const char *name)
{
	char path[32];
	int at = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (at < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", at);
	int inner = chmod(path, 0700) < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(at);
	return inner;
}

struct emptying {
	int top;         /* descriptor of the directory where it began */
	unsigned number; /* a name for what is moved up to it */
	bool moved;      /* something was, in this round */
	uint64_t until;  /* monotonic */
};

/* Move a directory up to the top, under a name that is free there. */
static void move_up(struct emptying *emptying, int fd, const char *name)
{
	char aside[32];
	int err;
	do {
		snprintf(aside, sizeof(aside), ".deep-%u", emptying->number++);
		err = renameat2(fd, name, emptying->top, aside, RENAME_NOREPLACE) < 0 ? errno : 0;
	} while (err == EEXIST);
	emptying->moved = emptying->moved || !err;
}

/* Empty the directory; fd is closed. */
static void empty(struct emptying *emptying, int fd, int depth)
{
	DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return;
	}
	const struct dirent *entry;
	while ((entry = readdir(dir)) != NULL && monotonic_ns() < emptying->until) {
		const char *name = entry->d_name;
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || unlinkat(dirfd(dir), name, 0) == 0)
			continue;
		int inner = enter(dirfd(dir), name);
		if (inner < 0)
			continue;
		if (depth < MAX_DEPTH)
			empty(emptying, inner, depth + 1);
		else
			close(inner);
		if (unlinkat(dirfd(dir), name, AT_REMOVEDIR) < 0 && depth == MAX_DEPTH)
			move_up(emptying, dirfd(dir), name);
	}
	closedir(dir);
}

/* In rounds, as long as there is something that was moved up. */
static void empty_all(int fd)
{
	struct emptying emptying = {.top = fd, .until = monotonic_ns() + PATIENCE_NS};
	do {
		emptying.moved = false;
		int round = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (round < 0)
			return;
		empty(&emptying, round, 0);
	} while (emptying.moved && monotonic_ns() < emptying.until);
}

static bool is_log(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_nlink == 1;
}

static bool has_log(int dir, const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_log(&st);
}

/* Whatever it is. */
static void drop(int dir, const char *name)
{
	if (unlinkat(dir, name, 0) == 0)
		return;
	int inner = enter(dir, name);
	if (inner >= 0) {
		empty_all(inner);
		close(inner);
	}
	unlinkat(dir, name, AT_REMOVEDIR);
}

/* One that was made longer than `limit` may be longer than any disk. */
static void copy_file(int from_dir, int to_dir, const char *name, uint64_t limit)
{
	struct stat st;
	int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool is = from >= 0 && fstat(from, &st) == 0 && is_log(&st);
	int to = is ? openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
	while (to >= 0 && limit) {
		ssize_t n = sendfile(to, from, NULL, limit < COPY_AT_ONCE ? limit : COPY_AT_ONCE);
		if (n <= 0)
			break;
		limit -= (uint64_t)n;
	}
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
}

/*
 * Where the archive is on another file system the file is copied. An unconfined VMM can write here and may have been
 * taken over: only a plain file with no second name is a log. A link would show its target to who reads the archive, a
 * FIFO would hold up its reader. The VMM may live still, and give the name to something else once it was looked at:
 * what was moved or opened is looked at again.
 */
static void move_file(int from_dir, int to_dir, const char *name, uint64_t limit)
{
	if (!has_log(from_dir, name))
		return;
	if (renameat(from_dir, name, to_dir, name) < 0) {
		if (errno == EXDEV)
			copy_file(from_dir, to_dir, name, limit);
	} else if (!has_log(to_dir, name)) {
		drop(to_dir, name);
	}
}

void cleanup__run(const char *runtime_dir, const char *archive, uint64_t log_limit)
{
	int fd = open(runtime_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	int to = archive ? open(archive, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (to >= 0) {
		move_file(fd, to, CONSOLE_LOG, log_limit);
		move_file(fd, to, EVENTS_LOG, log_limit);
		move_file(fd, to, NETWORK_LOG, log_limit);
		move_file(fd, to, SECRETS_LOG, log_limit);
		close(to);
	}
	empty_all(fd);
	close(fd);
	rmdir(runtime_dir);
}

void cleanup__after(const struct vmm_config *config)
{
	cleanup__run(config->runtime_dir, config->archive, config->log_limit);
}

void stdio__detach(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	dup2(fd, STDERR_FILENO);
	close(fd);
}
