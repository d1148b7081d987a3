/* Namespaces: no network, no IPC, and a file system that holds the VMM's own directory and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine/linux/internal.h"
#include "confine/tree.h"

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

/* Of a user namespace just entered: ids keep their numbers. */
static int map_ids(uid_t uid, gid_t gid)
{
	char map[64];
	snprintf(map, sizeof(map), "%u %u 1\n", uid, uid);
	int error = write_file("/proc/self/uid_map", map);
	if (!error)
		error = write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1\n", gid, gid);
	return error ? error : write_file("/proc/self/gid_map", map);
}

/* In a user namespace of its own a user has the right to make the others. */
static int enter_user_namespace(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	return unshare(CLONE_NEWUSER) < 0 ? -errno : map_ids(uid, gid);
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

/* A tmpfs becomes the root, with what `fill` puts into it; the old root is let go. `over`: any directory. */
static int leave_file_system(const char *over, int (*fill)(void *arg, const char *root), void *arg)
{
	int error = 0;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("capsa", over, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=755") < 0)
		error = -errno;
	if (!error)
		error = fill(arg, over);
	if (!error &&
	    (chdir(over) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
	     chdir("/") < 0 ||
	     mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0))
		error = -errno;
	if (error)
		umount2(over, MNT_DETACH); /* what it covers is seen again */
	return error;
}

static int attach(int tree, const char *at)
{
	return syscall(SYS_move_mount, tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

/* The VMM's own */

struct own_directory {
	const char *path;
	int tree; /* taken before the tmpfs covers it */
};

static int fill_with_runtime_dir(void *arg, const char *root)
{
	const struct own_directory *own = arg;
	char inside[512];
	if ((size_t)snprintf(inside, sizeof(inside), "%s%s", root, own->path) >= sizeof(inside))
		return -ENAMETOOLONG;
	int error = make_directories(inside);
	return error ? error : attach(own->tree, inside);
}

static int keep_runtime_dir(const char *runtime_dir)
{
	struct own_directory own = {
		runtime_dir, (int)syscall(SYS_open_tree, AT_FDCWD, runtime_dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)};
	if (own.tree < 0)
		return -errno;
	int error = leave_file_system(runtime_dir, fill_with_runtime_dir, &own);
	close(own.tree);
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
	error = keep_runtime_dir(work->request->runtime_dir);
	if (error)
		detail__say(detail, "%s; but leaving the file system: %s",
			    network ? "the host's network" : "no network", strerror(-error));
	else
		detail__say(detail, "%s%s, no IPC, no files but its sockets and shares",
			    as_user ? "by a user namespace: " : "",
			    network ? "the host's network for one thread" : "no network");
	return error;
}

/* A program's */

#define MAX_PARTS 48
#define PROGRAM_NAMESPACES (CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWCGROUP)

pid_t confine__fork(const struct confine_request *request, struct confine_birth *birth)
{
	static const unsigned long kinds[] = {PROGRAM_NAMESPACES, PROGRAM_NAMESPACES | CLONE_NEWUSER};
	pid_t pid = -1;
	*birth = (struct confine_birth){.uid = geteuid(), .gid = getegid()};
	for (unsigned i = 0; pid < 0 && request->mode != CONFINE_NONE && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		birth->namespaces = kinds[i];
		pid = (pid_t)syscall(SYS_clone, kinds[i] | SIGCHLD, 0, 0, 0, 0);
		birth->error = pid < 0 ? errno : 0;
	}
	if (pid >= 0)
		return pid;
	birth->namespaces = 0;
	return fork();
}

/* What it is to have of this machine's files; all are taken before the tmpfs covers some. Where a path is a symbolic
 * link it has what that leads to, in the link's place. */
struct parts {
	struct part {
		char path[256];
		int tree;
		bool directory;
	} list[MAX_PARTS];
	unsigned count;
};

static int take(void *arg, const char *path, bool executable)
{
	struct parts *parts = arg;
	struct stat status;
	(void)executable;
	if (parts->count == MAX_PARTS)
		return -E2BIG;
	struct part *part = &parts->list[parts->count];
	if ((size_t)snprintf(part->path, sizeof(part->path), "%s", path) >= sizeof(part->path))
		return -ENAMETOOLONG;
	if (stat(path, &status) < 0)
		return errno == ENOENT ? 0 : -errno;
	part->directory = S_ISDIR(status.st_mode);
	part->tree = tree__open(path, true);
	if (part->tree < 0)
		return part->tree;
	parts->count++;
	return 0;
}

static int take_all(struct parts *parts, const struct confine_program *program)
{
	int error = program__each_file(program, take, parts);
	for (unsigned i = 0; !error && i < program->socket_count; i++)
		error = take(parts, program->sockets[i], false);
	/* /proc/self is a link: the directory is taken by way of it, and stays this process's */
	return error ? error : take(parts, "/proc/self/fd", false);
}

/* `at` may be cut, and is whole again on return. */
static int make_place(const struct part *part, char *at)
{
	if (part->directory)
		return make_directories(at);
	char *name = strrchr(at, '/');
	*name = 0;
	int error = make_directories(at);
	*name = '/';
	if (error)
		return error;
	int fd = open(at, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int fill_with_parts(void *arg, const char *root)
{
	const struct parts *parts = arg;
	struct stat status;
	int error = 0;
	for (unsigned i = 0; i < parts->count && !error; i++) {
		const struct part *part = &parts->list[i];
		char at[512];
		if ((size_t)snprintf(at, sizeof(at), "%s%s", root, part->path) >= sizeof(at))
			return -ENAMETOOLONG;
		if (lstat(at, &status) == 0) /* within one that is there by now */
			continue;
		error = make_place(part, at);
		if (!error)
			error = attach(part->tree, at);
	}
	return error;
}

static void give_back(struct parts *parts)
{
	for (unsigned i = 0; i < parts->count; i++)
		close(parts->list[i].tree);
}

int program__namespaces(struct confine_work *work, struct confine_detail detail)
{
	const struct confine_birth *birth = work->birth;
	struct parts parts = {.count = 0};
	if (!birth->namespaces) {
		detail__say(detail, "clone: %s", strerror(birth->error));
		return -birth->error;
	}
	const bool as_user = birth->namespaces & CLONE_NEWUSER;
	int error = as_user ? map_ids(birth->uid, birth->gid) : 0;
	if (!error)
		error = take_all(&parts, work->request->program);
	if (!error)
		error = leave_file_system(work->request->runtime_dir, fill_with_parts, &parts);
	give_back(&parts);
	const char *what = "no network, no IPC, no other processes";
	if (error)
		detail__say(detail, "%s; but leaving the file system: %s", what, strerror(-error));
	else
		detail__say(detail, "%s%s, no files but its own", as_user ? "by a user namespace: " : "", what);
	return error;
}
