/* Limits of a program and all it starts: a control group of its own (cgroup v2). */
#include "process/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/loop.h"

/* All groups are in this one: a group has processes or groups in it, never both. */
#define PARENT "capsa"
#define CONTROLLERS "+memory +cpu +pids"

enum { NAME = 24, PERIOD_US = 100000 };

static int put(int directory, const char *name, const char *value)
{
	int fd = openat(directory, name, O_WRONLY | O_CLOEXEC), err = 0;
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int put_number(int directory, const char *name, uint64_t value)
{
	char text[NAME];
	snprintf(text, sizeof(text), "%" PRIu64, value);
	return put(directory, name, text);
}

/* Those that ended: the kernel lets go of a group only once the last process in it has been reaped. */
static void sweep(int parent)
{
	int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory) {
		if (fd >= 0)
			close(fd);
		return;
	}
	const struct dirent *entry;
	while ((entry = readdir(directory)))
		if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
			unlinkat(parent, entry->d_name, AT_REMOVEDIR);
	closedir(directory);
}

/* The directory that holds the groups, with the controllers given to them. Returns it or -errno. */
static int open_parent(const char *root)
{
	int top = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), parent = -1, err = 0;
	if (top < 0)
		return -errno;
	err = put(top, "cgroup.subtree_control", CONTROLLERS);
	if (!err && mkdirat(top, PARENT, 0755) && errno != EEXIST)
		err = -errno;
	if (!err) {
		parent = openat(top, PARENT, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		err = parent < 0 ? -errno : put(parent, "cgroup.subtree_control", CONTROLLERS);
	}
	close(top);
	if (!err)
		return parent;
	if (parent >= 0)
		close(parent);
	return err;
}

static int set(int group, const struct limits *limits, const char **what)
{
	int err = 0;
	if (limits->memory) {
		*what = "memory.max";
		err = put_number(group, *what, limits->memory);
		/* a program of several processes that lost one of them would only seem to go on */
		if (!err)
			err = put(group, *what = "memory.oom.group", "1");
		/* where there is no swap there is no such file */
		if (!err)
			put(group, "memory.swap.max", "0");
	}
	char quota[2 * NAME];
	if (!err && limits->cpu_milli) {
		snprintf(quota, sizeof(quota), "%" PRIu64 " %d", limits->cpu_milli * (PERIOD_US / 1000), PERIOD_US);
		err = put(group, *what = "cpu.max", quota);
	}
	if (!err && limits->pids)
		err = put_number(group, *what = "pids.max", limits->pids);
	return err;
}

int limits__make(struct limit_group *group, const char *root, const struct limits *limits, int *procs,
		 const char **what)
{
	int err = 0;
	/* a name that no group has, not even one of an agent before this one */
	*group = (struct limit_group){.fd = -1, .number = monotonic_ns()};
	*procs = -1;
	*what = "the controllers memory, cpu and pids of cgroup v2";
	int parent = root ? open_parent(root) : -ENOSYS;
	if (parent < 0)
		return parent;
	sweep(parent);
	char name[NAME];
	snprintf(name, sizeof(name), "%" PRIu64, group->number);
	*what = "a control group";
	if (mkdirat(parent, name, 0755)) {
		err = -errno;
		close(parent);
		return err;
	}
	group->fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	err = group->fd < 0 ? -errno : set(group->fd, limits, what);
	if (!err) {
		*procs = openat(group->fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
		err = *procs < 0 ? -errno : 0;
	}
	if (err) {
		if (group->fd >= 0)
			close(group->fd);
		group->fd = -1;
		unlinkat(parent, name, AT_REMOVEDIR);
	}
	close(parent);
	return err;
}

void limits__kill(const struct limit_group *group)
{
	if (group->fd >= 0)
		put(group->fd, "cgroup.kill", "1");
}

bool limits__ran_out_of_memory(const struct limit_group *group)
{
	int fd = group->fd < 0 ? -1 : openat(group->fd, "memory.events", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	char text[512];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return false;
	text[n] = '\0';
	const char *line = strstr(text, "\noom_kill ");
	return line && strtoull(line + strlen("\noom_kill "), NULL, 10) > 0;
}

void limits__end(struct limit_group *group, const char *root)
{
	if (group->fd < 0)
		return;
	limits__kill(group);
	close(group->fd);
	group->fd = -1;
	char path[256];
	/* while the killed are not yet reaped it stays, for the next sweep */
	snprintf(path, sizeof(path), "%s/" PARENT "/%" PRIu64, root, group->number);
	rmdir(path);
}
