/* Cgroups: where one is made, what it is told, what is left of it; by a kernel made up here, and by this machine's. */
#include "vmm/keeper/linux/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "vmm/keeper/cleanup.h"

#define MIB (1ULL << 20)
#define NAME "capsa-1"

/* ---- a kernel: a directory made below `top` is a cgroup and has its files, which go with it ---- */

static char top[64];
static const char *closed; /* a file that cannot be written in those that are made from now on */
static struct cgroup_home home;
static const struct cgroup_limits limits = {.memory = 300 * MIB, .swap = 200 * MIB, .processes = 50};

static const char *const files[] = {"cgroup.subtree_control", "cgroup.procs",     "memory.max",    "memory.high",
				    "memory.swap.max",        "memory.oom.group", "memory.events", "pids.max"};

static bool is_made_up(const char *path)
{
	return top[0] && strncmp(path, top, strlen(top)) == 0;
}

static const char *at(const char *group, const char *file)
{
	static char path[4][256];
	static unsigned next;
	char *made = path[next++ % 4];
	snprintf(made, sizeof(path[0]), "%s%s/%s", top, group, file);
	return made;
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	CHECK(file != NULL);
	fputs(text, file);
	fclose(file);
}

static const char *get(const char *path)
{
	static char text[256];
	FILE *file = fopen(path, "r");
	CHECK(file != NULL);
	text[fread(text, 1, sizeof(text) - 1, file)] = 0;
	fclose(file);
	return text;
}

int mkdir(const char *path, mode_t mode)
{
	int result = (int)syscall(SYS_mkdir, path, mode);
	for (unsigned i = 0; result == 0 && is_made_up(path) && i < sizeof(files) / sizeof(files[0]); i++) {
		char file[256];
		snprintf(file, sizeof(file), "%s/%s", path, files[i]);
		if (closed && strcmp(files[i], closed) == 0)
			CHECK_EQ(syscall(SYS_mkdir, file, 0700), 0);
		else
			put(file, strncmp(files[i], "memory.max", 10) == 0 || strcmp(files[i], "memory.high") == 0
					  ? "max\n"
					  : "");
	}
	return result;
}

int rmdir(const char *path)
{
	for (unsigned i = 0; is_made_up(path) && i < sizeof(files) / sizeof(files[0]); i++) {
		char file[256];
		snprintf(file, sizeof(file), "%s/%s", path, files[i]);
		if (unlink(file) < 0)
			syscall(SYS_rmdir, file);
	}
	return (int)syscall(SYS_rmdir, path);
}

/* This file of a cgroup cannot be written. */
static void close_file(const char *group, const char *file)
{
	CHECK_EQ(unlink(at(group, file)), 0);
	CHECK_EQ(syscall(SYS_mkdir, at(group, file), 0700), 0);
}

static bool there(const char *group)
{
	return access(at(group, ""), F_OK) == 0;
}

/* top/around/own, where this process is */
static void set_up(void)
{
	snprintf(top, sizeof(top), "/tmp/capsa-cgroup-XXXXXX");
	CHECK(mkdtemp(top) != NULL);
	home = (struct cgroup_home){.own = "/around/own"};
	snprintf(home.root, sizeof(home.root), "%s", top);
	CHECK_EQ(mkdir(at("/around", ""), 0700), 0);
	CHECK_EQ(mkdir(at("/around/own", ""), 0700), 0);
}

static void tidy(struct cgroup *group)
{
	char path[sizeof(top)];
	if (group && group->events >= 0)
		close(group->events);
	memcpy(path, top, sizeof(path));
	top[0] = 0;
	cleanup__run(path, NULL, 0);
	CHECK(access(path, F_OK) < 0);
}

static int make(struct cgroup *group)
{
	const pid_t pid = 77;
	return cgroup__make(group, &home, NAME, &limits, &pid, 1);
}

/* ---- cases ---- */

static void one_is_made_below_its_own_and_told_all(void)
{
	struct cgroup group;
	set_up();
	CHECK_EQ(make(&group), 0);
	CHECK_STR(group.path, at("/around/own", NAME));
	CHECK_STR(get(at("/around/own", "cgroup.subtree_control")), "+memory +pids");
	CHECK_STR(get(at("/around/own/" NAME, "memory.max")), "314572800");
	CHECK_STR(get(at("/around/own/" NAME, "memory.swap.max")), "209715200");
	CHECK_STR(get(at("/around/own/" NAME, "memory.oom.group")), "1");
	CHECK_STR(get(at("/around/own/" NAME, "pids.max")), "50");
	CHECK_STR(get(at("/around/own/" NAME, "cgroup.procs")), "77");
	CHECK_EQ(cgroup__remove(&home, NAME), 0);
	CHECK(!there("/around/own/" NAME));
	tidy(&group);
}

static void where_its_own_may_not_be_parted_it_is_beside_that(void)
{
	struct cgroup group;
	set_up();
	close_file("/around/own", "cgroup.subtree_control");
	CHECK_EQ(make(&group), 0);
	CHECK_STR(group.path, at("/around", NAME));
	CHECK_EQ(cgroup__remove(&home, NAME), 0);
	CHECK(!there("/around/" NAME));
	tidy(&group);
}

static void a_cgroup_with_a_limit_is_not_left(void)
{
	static const char *const kinds[] = {"memory.max", "memory.high"};
	for (int i = 0; i < 2; i++) {
		struct cgroup group;
		set_up();
		put(at("/around/own", kinds[i]), "1073741824\n");
		close_file("/around/own", "cgroup.subtree_control");
		CHECK_EQ(make(&group), -EDQUOT);
		CHECK(!there("/around/" NAME));
		tidy(&group);
	}
}

static void nothing_is_left_where_it_cannot_be_filled(void)
{
	struct cgroup group;
	set_up();
	close_file("/around/own", "cgroup.subtree_control");
	close_file("/around", "cgroup.subtree_control");
	CHECK_EQ(make(&group), -ENOENT); /* the root has none of these files here */
	CHECK_EQ(group.events, -1);
	CHECK(!there("/" NAME));
	CHECK_EQ(cgroup__remove(&home, NAME), 0);
	tidy(&group);
}

static void nor_where_processes_may_not_be_moved(void)
{
	struct cgroup group;
	set_up();
	closed = "cgroup.procs";
	int err = make(&group);
	closed = NULL;
	CHECK_EQ(err, -ENOENT);
	CHECK_EQ(group.events, -1);
	CHECK(!there("/around/own/" NAME));
	CHECK(!there("/around/" NAME));
	tidy(&group);
}

static void what_was_left_behind_goes(void)
{
	char lives[32];
	struct cgroup group;
	int status;
	set_up();
	pid_t gone = fork();
	if (gone == 0)
		_exit(0);
	CHECK(waitpid(gone, &status, 0) == gone);
	snprintf(lives, sizeof(lives), "/around/own/capsa-%d", (int)getpid());
	CHECK_EQ(mkdir(at(lives, ""), 0700), 0);
	CHECK_EQ(mkdir(at("/around/own/capsa-other", ""), 0700), 0);
	char left[32];
	snprintf(left, sizeof(left), "/around/own/capsa-%d", (int)gone);
	CHECK_EQ(mkdir(at(left, ""), 0700), 0);
	CHECK_EQ(mkdir(at("/around/own/" NAME, ""), 0700), 0); /* and its own name is free again */
	CHECK_EQ(make(&group), 0);
	CHECK(!there(left));
	CHECK(there(lives));
	CHECK(there("/around/own/capsa-other"));
	tidy(&group);
}

static void of_a_process_that_has_ended_none_is_adopted(void)
{
	struct cgroup group;
	int status;
	set_up();
	pid_t gone = fork();
	if (gone == 0)
		_exit(0);
	CHECK(waitpid(gone, &status, 0) == gone);
	CHECK_EQ(cgroup__adopt(&group, &home, NAME, &gone, 1), -EAGAIN);
	CHECK_EQ(group.events, -1);
	tidy(&group);
}

static void it_ran_out_when_it_met_its_limit_and_was_killed(void)
{
	struct cgroup group;
	set_up();
	CHECK_EQ(make(&group), 0);
	CHECK(!cgroup__ran_out(&group));
	put(at("/around/own/" NAME, "memory.events"), "low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\noom_group_kill 1\n");
	CHECK(cgroup__ran_out(&group));
	put(at("/around/own/" NAME, "memory.events"), "low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\noom_group_kill 0\n");
	CHECK(!cgroup__ran_out(&group));
	/* the whole machine had no memory */
	put(at("/around/own/" NAME, "memory.events"), "low 0\nhigh 0\nmax 9\noom 0\noom_kill 2\noom_group_kill 0\n");
	CHECK(!cgroup__ran_out(&group));
	tidy(&group);
}

/* ---- by this machine's kernel ---- */

/* Wait for a byte, then hold so much. */
static pid_t start(int go, uint64_t bytes)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	char byte;
	if (read(go, &byte, 1) == 1 && bytes) {
		char *held = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (uint64_t i = 0; held != MAP_FAILED && i < bytes; i += 4096)
			held[i] = 1;
	}
	for (;;)
		pause();
}

static void who_holds_too_much_ends_with_all_of_its_cgroup(void)
{
	const struct cgroup_limits small = {.memory = 64 * MIB, .swap = 0, .processes = 16};
	struct cgroup group;
	char name[32];
	int go[2], status;
	if (cgroup__home(&home) < 0)
		SKIP("no cgroups of version 2 here");
	CHECK_EQ(pipe(go), 0);
	const pid_t pids[] = {start(go[0], 256 * MIB), start(go[0], 0)};
	snprintf(name, sizeof(name), CGROUP_PREFIX "%d", (int)getpid());
	int err = cgroup__make(&group, &home, name, &small, pids, 2);
	if (err) {
		kill(pids[0], SIGKILL);
		kill(pids[1], SIGKILL);
		SKIP("no cgroup may be made here");
	}
	CHECK_EQ(cgroup__remove(&home, name), -EBUSY);
	CHECK_EQ(write(go[1], "go", 2), 2);
	for (int i = 0; i < 2; i++) {
		CHECK(waitpid(pids[i], &status, 0) == pids[i]);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	CHECK(cgroup__ran_out(&group));
	CHECK_EQ(cgroup__remove(&home, name), 0);
	CHECK(access(group.path, F_OK) < 0);
	CHECK(!cgroup__ran_out(&group));
	CHECK_EQ(group.events, -1);
}

int main(void)
{
	CASE(one_is_made_below_its_own_and_told_all);
	CASE(where_its_own_may_not_be_parted_it_is_beside_that);
	CASE(a_cgroup_with_a_limit_is_not_left);
	CASE(nothing_is_left_where_it_cannot_be_filled);
	CASE(nor_where_processes_may_not_be_moved);
	CASE(what_was_left_behind_goes);
	CASE(of_a_process_that_has_ended_none_is_adopted);
	CASE(it_ran_out_when_it_met_its_limit_and_was_killed);
	CASE(who_holds_too_much_ends_with_all_of_its_cgroup);
	return check__done();
}
