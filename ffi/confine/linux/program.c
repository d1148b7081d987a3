/* What a program that is executed in a cage of its own needs of this machine: its files, and its system calls. */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "confine/linux/internal.h"

/* Files */

struct walk {
	int (*visit)(void *arg, const char *path, bool executable);
	void *arg;
};

static int visit_below(const struct walk *walk, const char *prefix, const char *const *names, bool executable)
{
	char path[256];
	int error = 0;
	for (; *names && !error; names++) {
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", prefix, *names) >= sizeof(path))
			return -ENAMETOOLONG;
		error = walk->visit(walk->arg, path, executable);
	}
	return error;
}

static int visit_prefix(const struct walk *walk, const char *prefix)
{
	static const char *const libraries[] = {"lib", "lib64", NULL};
	static const char *const data[] = {"share/qemu", "share/seabios", NULL};
	int error = visit_below(walk, prefix, libraries, true);
	return error ? error : visit_below(walk, prefix, data, false);
}

int program__each_file(const struct confine_program *program,
		       int (*visit)(void *arg, const char *path, bool executable), void *arg)
{
	static const char *const stores[] = {"/nix/store", "/gnu/store"}; /* of packages, each in a prefix of its own */
	const struct walk walk = {visit, arg};
	char prefix[256]; /* of PREFIX/bin/qemu */
	if ((size_t)snprintf(prefix, sizeof(prefix), "%s", program->path) >= sizeof(prefix))
		return -ENAMETOOLONG;
	for (int i = 0; i < 2; i++)
		if (strrchr(prefix, '/'))
			*strrchr(prefix, '/') = 0;
	int error = visit_prefix(&walk, "/usr");
	if (!error)
		error = visit_prefix(&walk, "");
	if (!error && *prefix && strcmp(prefix, "/usr") != 0)
		error = visit_prefix(&walk, prefix);
	for (unsigned i = 0; !error && i < sizeof(stores) / sizeof(stores[0]); i++)
		if (strncmp(program->path, stores[i], strlen(stores[i])) == 0)
			error = visit(arg, stores[i], true);
	if (!error)
		error = visit(arg, "/etc/ld.so.cache", false);
	return error ? error : visit(arg, program->path, true);
}

/* System calls */

/* Of QEMU as it starts, with the C library's loader before it, and as it runs. One that a newer QEMU makes beyond these
 * is answered as by a kernel that has it not. */
static const char *const calls[] = {
	/* memory and threads */
	"brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "msync", "mincore", "membarrier", "futex", "rseq",
	"set_robust_list", "set_tid_address", "arch_prctl", "sched_yield", "sched_getaffinity", "getcpu", "gettid",
	"getpid", "getppid", "exit", "exit_group", "restart_syscall",
	/* signals of its own, and time */
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "rt_sigpending", "rt_sigsuspend",
	"sigaltstack", "signalfd4", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday",
	"time", "timerfd_create", "timerfd_settime", "timerfd_gettime",
	/* descriptors */
	"read", "write", "readv", "writev", "pread64", "preadv", "lseek", "close", "close_range", "dup", "dup2", "dup3",
	"pipe", "pipe2", "eventfd2", "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait",
	"epoll_pwait", "memfd_create", "ftruncate", "fallocate", "fadvise64",
	/* files, to read */
	"open", "openat", "stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat",
	"faccessat2", "readlink", "readlinkat", "getdents64", "getcwd", "chdir", "fchdir",
	/* sockets that it has */
	"recvfrom", "recvmsg", "sendto", "sendmsg", "shutdown", "getsockname", "getpeername",
	/* what this machine is, and who it is */
	"uname", "sysinfo", "getrandom", "getrusage", "getrlimit", "getuid", "geteuid", "getgid", "getegid",
	"getgroups", "get_mempolicy", NULL};

static int allow_arguments(scmp_filter_ctx filter)
{
	static const unsigned long ioctls[] = {FIONREAD, FIONBIO, TCGETS};
	static const unsigned long options[] = {PR_SET_NAME,     PR_GET_NAME,     PR_GET_SECCOMP,
						PR_SET_SECCOMP,  PR_MCE_KILL,     PR_SET_NO_NEW_PRIVS,
						PR_GET_DUMPABLE, PR_CAPBSET_READ, PR_SET_TIMERSLACK};
	static const unsigned long flags[] = {F_DUPFD, F_ADD_SEALS, F_GET_SEALS};
	int error = filter__each(filter, SCMP_SYS(ioctl), 1, ioctls, sizeof(ioctls) / sizeof(ioctls[0]));
	if (!error) /* QEMU's own, but none that asks somebody: its answer would count where this one asks */
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(seccomp), 1,
					 SCMP_A1(SCMP_CMP_MASKED_EQ, SECCOMP_FILTER_FLAG_NEW_LISTENER, 0));
	if (!error)
		error = filter__each(filter, SCMP_SYS(prctl), 0, options, sizeof(options) / sizeof(options[0]));
	return error ? error : filter__each(filter, SCMP_SYS(fcntl), 1, flags, sizeof(flags) / sizeof(flags[0]));
}

/*
 * The one that executes it, by the descriptor of that number; whoever executes anything else is not QEMU. The filter
 * does not see paths, and an absolute one makes nothing of the number: it leads to files that are there, but by no
 * link, not even one of /proc/self/fd, to a program that was made in memory.
 */
static int allow_executing(scmp_filter_ctx filter, int program)
{
	const scmp_datum_t number = (scmp_datum_t)program;
	int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(execveat), 2, SCMP_A0(SCMP_CMP_EQ, number),
				     SCMP_A4(SCMP_CMP_EQ, PROGRAM_EXECUTED_BY));
	if (!error)
		error = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(execveat), 1,
					 SCMP_A0(SCMP_CMP_NE, number));
	if (!error)
		error = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(execveat), 1,
					 SCMP_A4(SCMP_CMP_NE, PROGRAM_EXECUTED_BY));
	return error ? error : seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(execve), 0);
}

/*
 * A program that connects finds no other sockets in mounts of its own. Elsewhere paths lead to all that its user may
 * reach, and the filter does not see paths: then whoever started it connects in its stead.
 */
static int allow_connecting(scmp_filter_ctx filter, bool alone)
{
	int error = filter__unix_streams(filter);
	return error ? error : seccomp_rule_add(filter, alone ? SCMP_ACT_ALLOW : SCMP_ACT_NOTIFY, SCMP_SYS(connect), 0);
}

int program__syscalls(struct confine_work *work, struct confine_detail detail)
{
	const bool connects = work->request->program->socket_count > 0;
	scmp_filter_ctx filter = filter__new(SCMP_ACT_ERRNO(ENOSYS));
	int error = filter ? filter__all(filter, calls, SCMP_ACT_ALLOW) : -ENOMEM;
	if (!error)
		error = filter__all(filter, filter__fatal, SCMP_ACT_KILL_PROCESS);
	if (!error)
		error = allow_arguments(filter);
	if (!error)
		error = filter__descriptor_flags(filter);
	if (!error)
		error = filter__socket_options(filter);
	if (!error)
		error = filter__threads(filter);
	if (!error)
		error = filter__own_signals(filter);
	if (!error)
		error = filter__reading_limits(filter);
	if (!error)
		error = filter__unix_pairs(filter);
	if (!error && connects)
		error = allow_connecting(filter, work->alone);
	if (!error)
		error = allow_executing(filter, work->program);
	if (!error)
		error = seccomp_load(filter);
	if (!error && connects && !work->alone)
		work->connects = fcntl(seccomp_notify_fd(filter), F_DUPFD_CLOEXEC, 0);
	if (filter)
		seccomp_release(filter);
	if (error)
		detail__say(detail, "seccomp: %s", strerror(-error));
	else
		detail__say(detail, "seccomp: an allow-list, before QEMU's own");
	return error;
}
