/* Detached mounts by open_tree(2). */
#include "confine/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/pass.h"

/* -errno where mounting is not permitted, before Linux 5.12, or where a mount below may not be changed. */
static int open_detached(const char *path, bool read_only)
{
	struct mount_attr attr = {.attr_set =
					  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0)};
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) == 0)
		return fd;
	int err = -errno;
	close(fd);
	return err;
}

/* In a child, which may have ended before: it is seen to have no descriptor then. */
static void hand_over(int to, int fd)
{
	(void)pass__send(to, "", 1, fd, true);
}

static int take_over(int from)
{
	char byte;
	int fd;
	return pass__receive(from, &byte, 1, &fd) == 1 && fd >= 0 ? fd : -EPERM;
}

/* An ordinary user may mount in a user namespace. The mount made there outlives it, by its descriptor. */
static int open_as_user(const char *path, bool read_only)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0) {
		int fd = unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 ? open_detached(path, read_only) : -1;
		if (fd >= 0)
			hand_over(pair[1], fd);
		_exit(0);
	}
	close(pair[1]);
	int fd = pid < 0 ? -errno : take_over(pair[0]);
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}

int tree__open(const char *path, bool read_only)
{
	int fd = open_detached(path, read_only);
	if (fd == -EPERM)
		fd = open_as_user(path, read_only);
	if (fd >= 0)
		return fd;
	fd = open(path, O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
