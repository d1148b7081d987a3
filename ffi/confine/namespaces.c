/* Namespaces: no network, no IPC, and a file system that holds the runtime directory and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine/internal.h"

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, text, strlen(text));
	int error = n < 0 ? errno : 0;
	close(fd);
	return -error;
}

/* In a user namespace of its own a user has the right to make the others; ids keep their numbers. */
static int enter_user_namespace(void)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();
	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	snprintf(map, sizeof(map), "%u %u 1\n", uid, uid);
	int error = write_file("/proc/self/uid_map", map);
	if (!error)
		error = write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1\n", gid, gid);
	return error ? error : write_file("/proc/self/gid_map", map);
}

static int make_directories(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		int failed = mkdir(path, 0755) < 0 && errno != EEXIST;
		*slash = '/';
		if (failed)
			return -errno;
	}
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* A tmpfs becomes the root, holding the runtime directory under its own path; the old root is let go. */
static int leave_file_system(const char *runtime_dir)
{
	char inside[512];
	if ((size_t)snprintf(inside, sizeof(inside), "%s%s", runtime_dir, runtime_dir) >= sizeof(inside))
		return -ENAMETOOLONG;
	int tree = (int)syscall(SYS_open_tree, AT_FDCWD, runtime_dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return -errno;
	int error = 0;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("capsa", runtime_dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=755") < 0)
		error = -errno;
	if (!error)
		error = make_directories(inside);
	if (!error &&
	    (syscall(SYS_move_mount, tree, "", AT_FDCWD, inside, MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	     chdir(runtime_dir) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
	     chdir("/") < 0 ||
	     mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0))
		error = -errno;
	close(tree);
	return error;
}

int layer__namespaces(struct confine_work *work, struct confine_detail detail)
{
	const bool network = work->request->network;
	const int others = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (network ? 0 : CLONE_NEWNET);
	int error = unshare(others) < 0 ? -errno : 0;
	bool as_user = false;
	if (error == -EPERM && work->request->foreign_owners) {
		detail__say(detail,
			    "a user's own namespace would hide the owners of files that a share passes through");
		return error;
	}
	if (error == -EPERM) {
		as_user = true;
		error = enter_user_namespace();
		if (!error && unshare(others) < 0)
			error = -errno;
	}
	if (error) {
		detail__say(detail, "unshare: %s", strerror(-error));
		return error;
	}
	error = leave_file_system(work->request->runtime_dir);
	if (error)
		detail__say(detail, "%s; but leaving the file system: %s",
			    network ? "the host's network" : "no network", strerror(-error));
	else
		detail__say(detail, "%s%s, no IPC, no files but the runtime directory and shares",
			    as_user ? "by a user namespace: " : "",
			    network ? "the host's network for one thread" : "no network");
	return error;
}
