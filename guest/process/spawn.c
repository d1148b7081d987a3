/* Start a program: clone(CLONE_VM|CLONE_VFORK), as posix_spawn does, with what posix_spawn cannot do in between. */
#include "process/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

const char spawn__default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

enum { STACK = 64 * 1024 };

/* Shared with the child, which runs in the parent's memory while the parent waits. */
struct start {
	const struct program *program;
	const char *path; /* of the search; NULL: argv[0] is a path */
	char *candidate;  /* room for a directory of the path, '/' and argv[0] */
	enum spawn_stage stage;
	int err;
};

static char *const *environment_of(const struct program *program)
{
	static char *const empty[] = {NULL};
	return program->environment.list ? program->environment.list : empty;
}

/* The first entry of the path that can be executed; like the shells, "not permitted" is told before "not found". */
static int search(struct start *start)
{
	char *const *argv = start->program->argv.list;
	char *const *environment = environment_of(start->program);
	size_t name = strlen(argv[0]);
	int err = ENOENT;
	for (const char *at = start->path;; at++) {
		size_t length = strcspn(at, ":");
		if (length) {
			memcpy(start->candidate, at, length);
			start->candidate[length] = '/';
		}
		memcpy(start->candidate + (length ? length + 1 : 0), argv[0], name + 1);
		execve(start->candidate, argv, environment);
		if (errno == EACCES)
			err = EACCES;
		else if (errno != ENOENT && errno != ENOTDIR)
			return errno;
		at += length;
		if (!*at)
			return err;
	}
}

static int become(const struct program *program)
{
	gid_t group = program->has_group ? program->group : program->user;
	/* the raw calls: libc's would try to reach the threads of the parent */
	if (!program->has_user && !program->has_group)
		return 0;
	if (syscall(SYS_setgroups, program->group_count, program->groups) ||
	    syscall(SYS_setresgid, group, group, group))
		return errno;
	if (program->has_user && syscall(SYS_setresuid, program->user, program->user, program->user))
		return errno;
	return 0;
}

static int child(void *arg)
{
	struct start *start = arg;
	const struct program *program = start->program;
	struct sigaction by_default = {.sa_handler = SIG_DFL};
	sigaction(SIGPIPE, &by_default, NULL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	for (int fd = 0; fd < 3; fd++)
		dup2(program->fds[fd], fd);
	if (program->terminal)
		ioctl(0, TIOCSCTTY, 0); /* a new session has none, and nobody else has this one */
	if (program->open_files)
		setrlimit(RLIMIT_NOFILE, program->open_files);

	start->stage = SPAWN_LIMITS;
	if (program->limit_procs && write(program->limit_procs, "0", 1) != 1)
		start->err = errno;
	if (!start->err) {
		start->stage = SPAWN_IDENTITY;
		start->err = become(program);
	}
	if (!start->err) {
		if (program->dies_with_parent)
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		start->stage = SPAWN_CWD;
		if (chdir(program->cwd ? program->cwd : "/"))
			start->err = errno;
	}
	if (!start->err) {
		start->stage = SPAWN_PROGRAM;
		if (start->path) {
			start->err = search(start);
		} else {
			execve(program->argv.list[0], program->argv.list, environment_of(program));
			start->err = errno;
		}
	}
	_exit(127);
}

pid_t program__start(const struct program *program, enum spawn_stage *stage)
{
	struct start start = {.program = program, .stage = SPAWN_PROCESS};
	*stage = SPAWN_PROCESS;
	if (!*program->argv.list[0]) {
		*stage = SPAWN_PROGRAM;
		return -ENOENT;
	}
	if (!strchr(program->argv.list[0], '/')) {
		start.path = environment__get(&program->environment, "PATH");
		if (!start.path)
			start.path = spawn__default_path;
		start.candidate = malloc(strlen(start.path) + strlen(program->argv.list[0]) + 2);
		if (!start.candidate)
			return -ENOMEM;
	}
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED) {
		free(start.candidate);
		return -ENOMEM;
	}
	sigset_t all;
	sigfillset(&all);
	sigset_t before;
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = clone(child, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, &start);
	if (pid < 0)
		start.err = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	munmap(stack, STACK);
	free(start.candidate);
	*stage = start.stage;
	return start.err ? -start.err : pid;
}

void program__explain(const struct program *program, enum spawn_stage stage, int err, char *text, size_t size)
{
	const char *name = program->argv.list[0], *reason = strerror(err < 0 ? -err : err);
	const char *cwd = program->cwd ? program->cwd : "/";
	err = err < 0 ? -err : err;
	switch (stage) {
	case SPAWN_PROCESS:
		snprintf(text, size, "%s: no process could be made for it: %s", name, reason);
		break;
	case SPAWN_LIMITS:
		snprintf(text, size, "%s: cannot be put under its limits: %s", name, reason);
		break;
	case SPAWN_IDENTITY:
		snprintf(text, size, "%s: cannot run as user %u, group %u: %s", name, program->user,
			 program->has_group ? program->group : program->user, reason);
		break;
	case SPAWN_CWD:
		snprintf(text, size, "working directory %s: %s", cwd, reason);
		break;
	case SPAWN_PROGRAM:
		if (err == ENOENT && !strchr(name, '/')) {
			const char *path = environment__get(&program->environment, "PATH");
			snprintf(text, size, "%s: not found in PATH (%s)", name, path ? path : spawn__default_path);
		} else if (err == ENOENT && access(name, F_OK) == 0) {
			snprintf(text, size,
				 "%s: is there, but its interpreter or loader is not in this root file system", name);
		} else {
			snprintf(text, size, "%s: %s", name, reason);
		}
		break;
	}
}
