/* Cgroups (version 2) for processes that are to hold no more than so much of this machine, all together. */
#include "vmm/keeper/linux/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ---- files ---- */

static int join(char *path, size_t size, const char *directory, const char *name)
{
	return (size_t)snprintf(path, size, "%s/%s", directory, name) < size ? 0 : -ENAMETOOLONG;
}

static int put(const char *group, const char *file, const char *text)
{
	char path[CGROUP_PATH + 64];
	int err = join(path, sizeof(path), group, file);
	int fd = err ? -1 : open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err ? err : -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int put_number(const char *group, const char *file, uint64_t number)
{
	char text[24];
	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	return put(group, file, text);
}

/* The beginning of a file, as text. */
static int get(const char *directory, const char *file, char *text, size_t size)
{
	char path[CGROUP_PATH + 64];
	int err = join(path, sizeof(path), directory, file);
	int fd = err ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err ? err : -errno;
	ssize_t n = read(fd, text, size - 1);
	err = n < 0 ? -errno : 0;
	text[n < 0 ? 0 : n] = 0;
	close(fd);
	return err;
}

/* ---- who is where ---- */

/* Of a process, below the root: the line "0::/PATH" of its file. */
static int group_of(const char *proc, char *own, size_t size)
{
	char text[CGROUP_PATH + 1024];
	int err = get(proc, "cgroup", text, sizeof(text));
	if (err)
		return err;
	const char *line = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
	if (!line)
		return -ENOENT;
	line = strstr(line, "/");
	size_t len = strcspn(line, "\n");
	if (len >= size || line[len] != '\n' ||
	    strncmp(line, "/..", 3) == 0) /* cut off, or outside of what is mounted */
		return -ENOENT;
	snprintf(own, size, "%.*s", (int)len, len == 1 ? "" : line);
	return 0;
}

int cgroup__home(struct cgroup_home *home)
{
	struct statfs fs;
	*home = (struct cgroup_home){.root = "/sys/fs/cgroup"};
	if (statfs(home->root, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return -ENOENT;
	return group_of("/proc/self", home->own, sizeof(home->own));
}

/* Turn the path into that of the cgroup around it; false at the root. */
static bool go_up(const struct cgroup_home *home, char *path)
{
	char *slash = strrchr(path, '/');
	if (strlen(path) <= strlen(home->root))
		return false;
	*slash = 0;
	return true;
}

static bool is_limited(const char *group)
{
	static const char *const files[] = {"memory.max", "memory.high"};
	char text[32];
	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (get(group, files[i], text, sizeof(text)) == 0 && strncmp(text, "max", 3) != 0)
			return true;
	return false;
}

/* ---- making ---- */

/* Those whose sandbox was killed with all that would have removed them. */
static void sweep(const char *parent)
{
	const struct dirent *entry;
	char path[CGROUP_PATH];
	DIR *dir = opendir(parent);
	while (dir && (entry = readdir(dir)) != NULL) {
		char *end;
		if (strncmp(entry->d_name, CGROUP_PREFIX, strlen(CGROUP_PREFIX)) != 0)
			continue;
		long pid = strtol(entry->d_name + strlen(CGROUP_PREFIX), &end, 10);
		if (pid > 0 && !*end && kill((pid_t)pid, 0) < 0 && errno == ESRCH &&
		    join(path, sizeof(path), parent, entry->d_name) == 0)
			rmdir(path);
	}
	if (dir)
		closedir(dir);
}

/* A kernel without swap, or before Linux 4.19, lacks one of these files and is no worse for it. */
static int put_optional(const char *group, const char *file, uint64_t number)
{
	int err = put_number(group, file, number);
	return err == -ENOENT ? 0 : err;
}

static int fill(struct cgroup *group, const struct cgroup_limits *limits, const pid_t *pids, unsigned count)
{
	int err = put_number(group->path, "memory.max", limits->memory);
	if (!err)
		err = put_optional(group->path, "memory.swap.max", limits->swap);
	if (!err)
		err = put_optional(group->path, "memory.oom.group", 1);
	if (!err)
		err = put_number(group->path, "pids.max", limits->processes);
	for (unsigned i = 0; i < count && !err; i++) {
		err = put_number(group->path, "cgroup.procs", (uint64_t)pids[i]);
		if (err == -ESRCH) /* it has ended */
			err = 0;
	}
	return err;
}

static int watch(struct cgroup *group)
{
	char path[CGROUP_PATH + 64];
	int err = join(path, sizeof(path), group->path, "memory.events");
	group->events = err ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	return err ? err : group->events < 0 ? -errno : 0;
}

static int make_below(struct cgroup *group, const char *parent, const char *name, const struct cgroup_limits *limits,
		      const pid_t *pids, unsigned count)
{
	int err = put(parent, "cgroup.subtree_control", "+memory +pids");
	if (!err)
		err = join(group->path, sizeof(group->path), parent, name);
	if (err)
		return err;
	sweep(parent);
	if (mkdir(group->path, 0755) < 0 && (errno != EEXIST || rmdir(group->path) < 0 || mkdir(group->path, 0755) < 0))
		return -errno;
	err = watch(group);
	if (!err)
		err = fill(group, limits, pids, count);
	if (err) {
		if (group->events >= 0)
			close(group->events);
		group->events = -1;
		rmdir(group->path);
	}
	return err;
}

int cgroup__make(struct cgroup *group, const struct cgroup_home *home, const char *name,
		 const struct cgroup_limits *limits, const pid_t *pids, unsigned count)
{
	char parent[CGROUP_PATH + sizeof(home->root)];
	snprintf(parent, sizeof(parent), "%s%s", home->root, home->own);
	*group = (struct cgroup){.events = -1};
	int err;
	do {
		err = make_below(group, parent, name, limits, pids, count);
		if (err && is_limited(parent))
			return -EDQUOT;
	} while (err && go_up(home, parent));
	return err;
}

int cgroup__adopt(struct cgroup *group, const struct cgroup_home *home, const char *name, const pid_t *pids,
		  unsigned count)
{
	char proc[32], own[CGROUP_PATH];
	*group = (struct cgroup){.events = -1};
	for (unsigned i = 0; i < count; i++) {
		snprintf(proc, sizeof(proc), "/proc/%d", (int)pids[i]);
		if (group_of(proc, own, sizeof(own)) < 0)
			return -EAGAIN;
		const char *last = strrchr(own, '/');
		if (!last || strcmp(last + 1, name) != 0)
			return -EAGAIN;
	}
	if ((size_t)snprintf(group->path, sizeof(group->path), "%s%s", home->root, own) >= sizeof(group->path))
		return -ENAMETOOLONG;
	if (!is_limited(group->path))
		return -EAGAIN;
	int err = put_optional(group->path, "memory.oom.group", 1);
	return err ? err : watch(group);
}

/* ---- the end ---- */

/* "oom_kill" alone counts those that the whole machine's lack of memory has ended, too. */
bool cgroup__ran_out(struct cgroup *group)
{
	char text[512];
	ssize_t n = group->events < 0 ? -1 : pread(group->events, text, sizeof(text) - 1, 0);
	if (n < 0 && group->events >= 0) {
		close(group->events);
		group->events = -1;
	}
	text[n < 0 ? 0 : n] = 0;
	const char *met = strstr(text, "\noom "), *killed = strstr(text, "\noom_kill ");
	return met && killed && strtoul(met + strlen("\noom "), NULL, 10) &&
	       strtoul(killed + strlen("\noom_kill "), NULL, 10);
}

int cgroup__remove(const struct cgroup_home *home, const char *name)
{
	char parent[CGROUP_PATH + sizeof(home->root)], path[CGROUP_PATH];
	snprintf(parent, sizeof(parent), "%s%s", home->root, home->own);
	int err = 0;
	do {
		if (join(path, sizeof(path), parent, name) == 0 && rmdir(path) < 0 && errno == EBUSY)
			err = -EBUSY;
	} while (go_up(home, parent));
	return err;
}
