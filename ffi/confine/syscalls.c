/* seccomp: the system calls the VMM makes, and for some threads fewer still; all others fail with EPERM, and those that
 * only an intruder makes end the process. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "confine/internal.h"

/* Memory, locks, clocks, signals of its own and the descriptors it has: every thread. */
static const char *const basic[] = {"read",
				    "write",
				    "futex",
				    "munmap",
				    "madvise",
				    "mremap",
				    "brk",
				    "exit",
				    "exit_group",
				    "gettid",
				    "getpid",
				    "sched_yield",
				    "clock_gettime",
				    "clock_nanosleep",
				    "nanosleep",
				    "restart_syscall",
				    "rseq",
				    "set_robust_list",
				    "rt_sigprocmask",
				    "rt_sigreturn",
				    "rt_sigtimedwait",
				    "sigaltstack",
				    "gettimeofday",
				    "getrandom",
				    "getcpu",
				    "sched_getaffinity",
				    NULL};

/* Devices that move bytes between descriptors and guest memory. */
static const char *const streams[] = {"readv",           "writev",    "recvfrom",      "sendto",     "recvmsg",
				      "sendmsg",         "poll",      "ppoll",         "epoll_wait", "epoll_pwait",
				      "epoll_pwait2",    "epoll_ctl", "epoll_create1", "eventfd2",   "timerfd_create",
				      "timerfd_settime", "close",     "shutdown",      NULL};

/* The sectors of a file that is open. */
static const char *const sectors[] = {"preadv", "pwritev", "fdatasync", NULL};

/* Who comes to a listening socket that is there, and the buffers of that connection. */
static const char *const joiners[] = {"accept4", "setsockopt", NULL};

/* The file system device, the control channel, vsock, and what it takes to start threads and to tidy up. */
static const char *const whole[] = {"pread64",
				    "pwrite64",
				    "preadv",
				    "pwritev",
				    "preadv2",
				    "pwritev2",
				    "lseek",
				    "fstat",
				    "newfstatat",
				    "stat",
				    "lstat",
				    "statx",
				    "statfs",
				    "fstatfs",
				    "openat",
				    "openat2",
				    "open",
				    "getdents64",
				    "readlinkat",
				    "readlink",
				    "access",
				    "faccessat",
				    "faccessat2",
				    "unlinkat",
				    "unlink",
				    "rmdir",
				    "mkdir",
				    "mkdirat",
				    "mknodat",
				    "symlinkat",
				    "linkat",
				    "rename",
				    "renameat",
				    "renameat2",
				    "fchmod",
				    "fchmodat",
				    "fchmodat2",
				    "fchown",
				    "fchownat",
				    "chown",
				    "lchown",
				    "chmod",
				    "utimensat",
				    "ftruncate",
				    "truncate",
				    "fallocate",
				    "fadvise64",
				    "fsync",
				    "fdatasync",
				    "syncfs",
				    "sync_file_range",
				    "copy_file_range",
				    "sendfile",
				    "splice",
				    "flock",
				    "umask",
				    "getxattr",
				    "lgetxattr",
				    "fgetxattr",
				    "setxattr",
				    "lsetxattr",
				    "fsetxattr",
				    "listxattr",
				    "llistxattr",
				    "flistxattr",
				    "removexattr",
				    "lremovexattr",
				    "fremovexattr",
				    "accept4",
				    "getsockopt",
				    "setsockopt",
				    "getsockname",
				    "getpeername",
				    "signalfd4",
				    "select",
				    "pselect6",
				    "rt_sigaction",
				    "rt_sigpending",
				    "set_tid_address",
				    "getppid",
				    "getuid",
				    "geteuid",
				    "getgid",
				    "getegid",
				    "uname",
				    "sysinfo",
				    "getrusage",
				    "clock_getres",
				    "wait4",
				    "waitid",
				    "memfd_create",
				    "seccomp",
				    "close_range",
				    NULL};

/* What changes in a share, as long as no path leads elsewhere: Landlock has no say in what is watched. */
static const char *const watching[] = {"fchdir", /* inotify takes no directory to begin at */
				       "inotify_init1", "inotify_add_watch", "inotify_rm_watch", NULL};

/* A device that makes sockets of the network; and what its transport under QEMU needs. */
static const char *const sockets[] = {"connect",    "bind",       "listen",      "accept",      "accept4",
				      "getsockopt", "setsockopt", "getsockname", "getpeername", "fstat",
				      "newfstatat", "dup3",       NULL};

const char *const filter__fatal[] = {"ptrace",
				     "process_vm_readv",
				     "process_vm_writev",
				     "init_module",
				     "finit_module",
				     "mount",
				     "umount2",
				     "pivot_root",
				     "chroot",
				     "setns",
				     "bpf",
				     "kexec_load",
				     "kexec_file_load",
				     "open_by_handle_at",
				     NULL};

int filter__all(scmp_filter_ctx filter, const char *const *names, uint32_t action)
{
	int error = 0;
	for (; *names && !error; names++) {
		int number = seccomp_syscall_resolve_name(*names);
		if (number != __NR_SCMP_ERROR) /* newer than the library */
			error = seccomp_rule_add(filter, action, number, 0);
	}
	return error;
}

/* Memory is never executable and writable code: code is what was loaded. */
static int allow_memory(scmp_filter_ctx filter)
{
	int error =
		seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return error ? error
		     : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
					SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

/* KVM's own, the ones of sockets, and those that answer where QEMU connects. */
static int allow_ioctls(scmp_filter_ctx filter)
{
	static const unsigned long requests[] = {FIONREAD, FIONBIO, SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND,
						 SECCOMP_IOCTL_NOTIF_ADDFD};
	int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff00, (unsigned long)KVMIO << 8));
	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]) && !error; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
					 SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, requests[i]));
	return error;
}

/* Flags of descriptors, but for O_ASYNC: the signal that comes with input is any that F_SETSIG names, and goes to any
 * process that F_SETOWN does. */
int filter__descriptor_flags(scmp_filter_ctx filter)
{
	static const int commands[] = {F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL};
	int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 2, SCMP_A1(SCMP_CMP_EQ, F_SETFL),
				     SCMP_A2(SCMP_CMP_MASKED_EQ, O_ASYNC, 0));
	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]) && !error; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
					 SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)commands[i]));
	return error;
}

static int allow_streams(scmp_filter_ctx filter)
{
	int error = filter__all(filter, streams, SCMP_ACT_ALLOW);
	return error ? error : filter__descriptor_flags(filter);
}

int filter__threads(scmp_filter_ctx filter)
{
	const unsigned long namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
					 CLONE_NEWPID | CLONE_NEWNET;
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | namespaces, CLONE_THREAD));
}

/* Its flags lie in memory, where no filter sees them: the C library then takes clone. */
static int refuse_clone3(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

int filter__own_signals(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
}

static int allow_child(scmp_filter_ctx filter, pid_t child)
{
	return child > 0 ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1,
					    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)child))
			 : 0;
}

/* IPv4 and IPv6, TCP, UDP and echo requests; nothing that sees other packets than its own. */
static int allow_network_sockets(scmp_filter_ctx filter)
{
	static const int domains[] = {AF_INET, AF_INET6}, types[] = {SOCK_STREAM, SOCK_DGRAM};
	int error = 0;
	for (unsigned i = 0; i < 4 && !error; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
					 SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)domains[i / 2]),
					 SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff, (scmp_datum_t)types[i % 2]));
	return error;
}

static int refuse_network_sockets(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX));
}

static int allow_prctl(scmp_filter_ctx filter)
{
	static const int options[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_SET_NO_NEW_PRIVS};
	int error = 0;
	for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]) && !error; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
					 SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)options[i]));
	return error;
}

/* Asking for limits, not setting them. */
int filter__reading_limits(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0));
}

static int fill_basic(scmp_filter_ctx filter)
{
	static const char *const executing[] = {"execve", "execveat", NULL};
	int error = filter__all(filter, basic, SCMP_ACT_ALLOW);
	if (!error)
		error = filter__all(filter, filter__fatal, SCMP_ACT_KILL_PROCESS);
	if (!error)
		error = filter__all(filter, executing, SCMP_ACT_KILL_PROCESS);
	if (!error)
		error = allow_memory(filter);
	if (!error)
		error = allow_ioctls(filter);
	if (!error)
		error = allow_prctl(filter);
	return error ? error : filter__own_signals(filter);
}

int filter__unix_streams(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
				SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff, SOCK_STREAM));
}

static int allow_network(scmp_filter_ctx filter)
{
	int error = filter__all(filter, sockets, SCMP_ACT_ALLOW);
	return error ? error : allow_network_sockets(filter);
}

static int fill_network(scmp_filter_ctx filter)
{
	int error = fill_basic(filter);
	if (!error)
		error = allow_streams(filter);
	return error ? error : allow_network(filter);
}

static int fill_whole(scmp_filter_ctx filter, const struct confine_work *work)
{
	const struct confine_request *request = work->request;
	int error = fill_basic(filter);
	if (!error)
		error = allow_streams(filter);
	if (!error)
		error = filter__all(filter, whole, SCMP_ACT_ALLOW);
	if (!error && work->alone)
		error = filter__all(filter, watching, SCMP_ACT_ALLOW);
	if (!error)
		error = filter__threads(filter);
	if (!error)
		error = refuse_clone3(filter);
	if (!error)
		error = filter__reading_limits(filter);
	if (!error && request->network)
		error = allow_network(filter);
	return error ? error : allow_child(filter, request->child);
}

scmp_filter_ctx filter__new(uint32_t otherwise)
{
	scmp_filter_ctx filter = seccomp_init(otherwise);
	if (filter)
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree and not a list, where it knows */
	return filter;
}

int layer__syscalls(struct confine_work *work, struct confine_detail detail)
{
	scmp_filter_ctx filter = filter__new(SCMP_ACT_ERRNO(EPERM));
	int error = filter ? fill_whole(filter, work) : -ENOMEM;
	if (!error)
		error = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	if (error)
		detail__say(detail, "seccomp: %s", strerror(-error));
	else
		detail__say(detail, "seccomp: an allow-list");
	return error;
}

void confine__narrow(enum confine_thread kind)
{
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != SECCOMP_MODE_FILTER)
		return;
	/* filters add up: what one that came before forbids stays forbidden */
	scmp_filter_ctx filter = filter__new(kind == CONFINE_OFFLINE ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM));
	int error = filter ? 0 : -ENOMEM;
	if (!error)
		error = kind == CONFINE_OFFLINE   ? refuse_network_sockets(filter)
			: kind == CONFINE_NETWORK ? fill_network(filter)
						  : fill_basic(filter);
	if (!error && (kind == CONFINE_QUIET || kind == CONFINE_DISK || kind == CONFINE_LAN))
		error = allow_streams(filter);
	if (!error && kind == CONFINE_LAN)
		error = filter__all(filter, joiners, SCMP_ACT_ALLOW);
	if (!error && kind == CONFINE_DISK)
		error = filter__all(filter, sectors, SCMP_ACT_ALLOW);
	if (!error)
		error = seccomp_load(filter);
	/* on failure the thread stays as confined as its process is */
	(void)error;
	if (filter)
		seccomp_release(filter);
}
