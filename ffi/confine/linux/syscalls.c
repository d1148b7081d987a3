/* seccomp: the system calls that the VMM makes, and of each of its threads fewer still. Whoever makes another is not
 * the VMM any more: the kernel sends SIGSYS, which ends the process (vmm/keeper/linux/trap.c). */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "confine/linux/internal.h"

/* Memory, locks, clocks, signals of its own and the descriptors it has: every thread. */
static const char *const basic[] = {"read",
				    "write",
				    "close",
				    "futex",
				    "munmap",
				    "madvise",
				    "mremap",
				    "brk",
				    "exit",
				    "exit_group",
				    "gettid",
				    "getpid",
				    "geteuid",
				    "getuid",
				    "sched_yield",
				    "sched_getaffinity",
				    "clock_gettime",
				    "clock_nanosleep",
				    "restart_syscall",
				    "rseq",
				    "set_robust_list",
				    "rt_sigprocmask",
				    "rt_sigreturn",
				    "rt_sigtimedwait",
				    "sigaltstack",
				    "getrandom",
				    NULL};

/* Answered as by a kernel that forbids them: what libraries ask to find out where they are, and do without. */
static const char *const idle[] = {"sysinfo",    "uname",    "getrusage", "membarrier",    "access",        "faccessat",
				   "faccessat2", "readlink", "statfs",    "set_mempolicy", "get_mempolicy", NULL};

/* Devices that move bytes between descriptors and guest memory. */
static const char *const streams[] = {"readv",    "writev",   "recvfrom",   "sendto",    "recvmsg",
				      "sendmsg",  "poll",     "epoll_wait", "epoll_ctl", "epoll_create1",
				      "eventfd2", "shutdown", NULL};

/* The sectors of a file that is open. */
static const char *const sectors[] = {"preadv", "pwritev", "fdatasync", NULL};

/* Who comes to a listening socket that is there, and the buffers of that connection. */
static const char *const joiners[] = {"accept4", NULL};

/* Shares. */
static const char *const files[] = {
	"preadv2",         "pwritev2",  "lseek",     "newfstatat", "statx",        "fstatfs", "openat",    "getdents64",
	"readlinkat",      "unlinkat",  "mkdirat",   "mknodat",    "symlinkat",    "linkat",  "renameat",  "renameat2",
	"fchmodat",        "fchownat",  "utimensat", "ftruncate",  "fallocate",    "fsync",   "fdatasync", "syncfs",
	"copy_file_range", "fgetxattr", "fsetxattr", "flistxattr", "fremovexattr", "flock",   "dup3",      NULL};

/* What changes in a share, as long as no path leads elsewhere: Landlock has no say in what is watched. */
static const char *const watching[] = {"fchdir", /* inotify takes no directory to begin at */
				       "inotify_init1", "inotify_add_watch", "inotify_rm_watch", NULL};

/* A device that makes sockets of the network; dup3: see net/service_sockets_linux.c. */
static const char *const sockets[] = {"connect",     "bind",  "listen",     "accept", "accept4", "getsockname",
				      "getpeername", "fstat", "newfstatat", "dup3",   NULL};

/* The control channel, the logs, QEMU's end, and removing the runtime directory where nobody else is left to do it. */
static const char *const managing[] = {"pread64",  "pwrite64",   "lseek",    "fstat",  "newfstatat",
				       "openat",   "getdents64", "unlinkat", "unlink", "rmdir",
				       "renameat", "ftruncate",  "sendfile", "wait4",  NULL};

/* What makes threads, and narrows them. */
static const char *const starting[] = {"seccomp", "set_tid_address", NULL};

/* Of QEMU, which has no handler of ours for SIGSYS and is to end at once. */
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

/* The C library makes another call of the same meaning where an architecture came after this one. */
static int number_of(const char *name)
{
	static const char *const successors[][2] = {{"poll", "ppoll"}, {"epoll_wait", "epoll_pwait"}};
	int number = seccomp_syscall_resolve_name(name);
	for (unsigned i = 0; number < 0 && i < sizeof(successors) / sizeof(successors[0]); i++)
		if (strcmp(name, successors[i][0]) == 0)
			return seccomp_syscall_resolve_name(successors[i][1]);
	return number; /* below zero: there is none here, and the library makes no rule of it */
}

int filter__all(scmp_filter_ctx filter, const char *const *names, uint32_t action)
{
	int error = 0;
	for (; *names && !error; names++) {
		int number = number_of(*names);
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

int filter__each(scmp_filter_ctx filter, int call, unsigned argument, const unsigned long *values, unsigned count)
{
	int error = 0;
	for (unsigned i = 0; i < count && !error; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
					 SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, 0xffffffff, values[i]));
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

/* The numbers of other levels' options, and of all that anybody here asks or sets, are lower. From SO_PASSPIDFD on they
 * hand out descriptors of other processes, by which those can be ended. */
#define FIRST_OF_PROCESSES 76

int filter__socket_options(scmp_filter_ctx filter)
{
	int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(getsockopt), 1,
				     SCMP_A2(SCMP_CMP_LT, FIRST_OF_PROCESSES));
	return error ? error
		     : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 1,
					SCMP_A2(SCMP_CMP_LT, FIRST_OF_PROCESSES));
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

/* By a descriptor, of which there is one: the number of a process is another's once that is over. */
static int allow_killing(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(pidfd_send_signal), 1, SCMP_A1(SCMP_CMP_EQ, SIGKILL));
}

/* IPv4 and IPv6, TCP, UDP and echo requests; nothing that sees other packets than its own, and no other protocol of
 * those that a kernel has or loads for who asks. */
static int allow_network_sockets(scmp_filter_ctx filter)
{
	static const struct {
		int domain, type, protocol;
	} kinds[] = {
		{AF_INET, SOCK_STREAM, 0},
		{AF_INET6, SOCK_STREAM, 0},
		{AF_INET, SOCK_STREAM, IPPROTO_TCP},
		{AF_INET6, SOCK_STREAM, IPPROTO_TCP},
		{AF_INET, SOCK_DGRAM, 0},
		{AF_INET6, SOCK_DGRAM, 0},
		{AF_INET, SOCK_DGRAM, IPPROTO_UDP},
		{AF_INET6, SOCK_DGRAM, IPPROTO_UDP},
		{AF_INET, SOCK_DGRAM, IPPROTO_ICMP},
		{AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6},
	};
	int error = 0;
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && !error; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 3,
					 SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)kinds[i].domain),
					 SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff, (scmp_datum_t)kinds[i].type),
					 SCMP_A2(SCMP_CMP_EQ, (scmp_datum_t)kinds[i].protocol));
	return error;
}

static int allow_prctl(scmp_filter_ctx filter)
{
	static const unsigned long options[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_SET_NO_NEW_PRIVS};
	return filter__each(filter, SCMP_SYS(prctl), 0, options, sizeof(options) / sizeof(options[0]));
}

/* Asking for limits, not setting them. */
int filter__reading_limits(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0));
}

/* Of streams: a datagram goes from a socket of a pair to any address that comes with it. */
int filter__unix_pairs(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 2, SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
				SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff, SOCK_STREAM));
}

int filter__unix_streams(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
				SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff, SOCK_STREAM));
}

#define FIRST_REAL_TIME 32 /* of the kernel's; the C library keeps those below SIGRTMIN for itself */

/* What a thread may do beside the basic calls. */
enum part {
	STREAMS = 1,
	SECTORS = 2,
	JOINERS = 4,
	FILES = 8,
	NAMES = 16, /* of sockets, which go with them */
	NETWORK = 32,
	MANAGING = 64,
	CLOCK = 128, /* the guest's, by KVM */
	CPU = 256,
	STARTING = 512,
	EVERYTHING = 1023,
};

static const unsigned parts_of[] = {
	[CONFINE_VCPU] = CPU,
	[CONFINE_QUIET] = STREAMS,
	[CONFINE_DISK] = STREAMS | SECTORS,
	[CONFINE_LAN] = STREAMS | JOINERS,
	[CONFINE_VSOCK] = STREAMS | JOINERS | NAMES,
	[CONFINE_SHARES] = STREAMS | FILES,
	[CONFINE_NETWORK] = STREAMS | NETWORK,
	[CONFINE_MAIN] = STREAMS | JOINERS | MANAGING | CLOCK,
};

static int fill_basic(scmp_filter_ctx filter)
{
	int error = filter__all(filter, basic, SCMP_ACT_ALLOW);
	if (!error)
		error = filter__all(filter, idle, SCMP_ACT_ERRNO(EPERM));
	if (!error)
		error = allow_memory(filter);
	if (!error)
		error = allow_prctl(filter);
	return error ? error : filter__own_signals(filter);
}

static int allow_streams(scmp_filter_ctx filter)
{
	static const unsigned long requests[] = {FIONREAD, FIONBIO};
	int error = filter__all(filter, streams, SCMP_ACT_ALLOW);
	/* What a descriptor is. The flag lets a path through as well that is not empty: it tells what is there, and
	 * opens nothing. */
	if (!error)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
					 SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
	if (!error)
		error = filter__each(filter, SCMP_SYS(ioctl), 1, requests, sizeof(requests) / sizeof(requests[0]));
	return error ? error : filter__descriptor_flags(filter);
}

static int allow_joiners(scmp_filter_ctx filter)
{
	int error = filter__all(filter, joiners, SCMP_ACT_ALLOW);
	return error ? error : filter__socket_options(filter);
}

static int allow_files(scmp_filter_ctx filter, const struct confine_work *work)
{
	/* of what is open here, and never waiting */
	static const unsigned long locks[] = {F_OFD_GETLK, F_OFD_SETLK};
	static const unsigned long requests[] = {FICLONE, FS_IOC_FIEMAP};
	int error = filter__all(filter, files, SCMP_ACT_ALLOW);
	if (!error)
		error = filter__each(filter, SCMP_SYS(fcntl), 1, locks, sizeof(locks) / sizeof(locks[0]));
	if (!error)
		error = filter__each(filter, SCMP_SYS(ioctl), 1, requests, sizeof(requests) / sizeof(requests[0]));
	bool watches = !work || work->alone; /* of the process; of a thread it says so in any case */
	return error ? error : filter__all(filter, watching, watches ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM));
}

static int allow_network(scmp_filter_ctx filter)
{
	static const unsigned long requests[] = {SIOCGIFINDEX}; /* of the interface behind which a name server is */
	int error = filter__all(filter, sockets, SCMP_ACT_ALLOW);
	if (!error)
		error = filter__socket_options(filter);
	if (!error)
		error = filter__each(filter, SCMP_SYS(ioctl), 1, requests, sizeof(requests) / sizeof(requests[0]));
	if (!error) /* to the guest's name server, which is in this process */
		error = filter__unix_pairs(filter);
	return error ? error : allow_network_sockets(filter);
}

static int allow_managing(scmp_filter_ctx filter, bool child)
{
	int error = filter__all(filter, managing, SCMP_ACT_ALLOW);
	return error || !child ? error : allow_killing(filter);
}

static int allow_clock(scmp_filter_ctx filter)
{
	static const unsigned long requests[] = {KVM_GET_CLOCK, KVM_SET_CLOCK};
	return filter__each(filter, SCMP_SYS(ioctl), 1, requests, sizeof(requests) / sizeof(requests[0]));
}

static int allow_cpu(scmp_filter_ctx filter)
{
	static const unsigned long requests[] = {KVM_RUN, KVM_GET_REGS, KVM_SET_GSI_ROUTING};
	return filter__each(filter, SCMP_SYS(ioctl), 1, requests, sizeof(requests) / sizeof(requests[0]));
}

/* The C library handles two signals of its own as soon as there are threads; none of the others is touched. Libraries
 * that ask for limits get them; nobody sets any. QEMU's connect(2) is answered until it has started. */
static int allow_starting(scmp_filter_ctx filter)
{
	static const unsigned long requests[] = {SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND,
						 SECCOMP_IOCTL_NOTIF_ADDFD};
	int error = filter__all(filter, starting, SCMP_ACT_ALLOW);
	if (!error)
		error = filter__each(filter, SCMP_SYS(ioctl), 1, requests, sizeof(requests) / sizeof(requests[0]));
	for (int number = FIRST_REAL_TIME; number < SIGRTMIN && !error; number++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(rt_sigaction), 1,
					 SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)number));
	if (!error)
		error = filter__threads(filter);
	if (!error)
		error = refuse_clone3(filter);
	return error ? error : filter__reading_limits(filter);
}

/* `work`: of the process; NULL of a thread, whose filter adds to that one. */
static int fill(scmp_filter_ctx filter, unsigned parts, bool child, const struct confine_work *work)
{
	static const char *const names[] = {"unlinkat", NULL};
	/* libslirp would read /etc/resolv.conf, and the C library this or that; all do without */
	static const char *const reading[] = {"openat", NULL};
	int error = fill_basic(filter);
	if (!error && !(parts & (FILES | MANAGING)))
		error = filter__all(filter, reading, SCMP_ACT_ERRNO(EPERM));
	if (!error && parts & STREAMS)
		error = allow_streams(filter);
	if (!error && parts & SECTORS)
		error = filter__all(filter, sectors, SCMP_ACT_ALLOW);
	if (!error && parts & JOINERS)
		error = allow_joiners(filter);
	if (!error && parts & FILES)
		error = allow_files(filter, work);
	if (!error && parts & NAMES)
		error = filter__all(filter, names, SCMP_ACT_ALLOW);
	if (!error && parts & NETWORK)
		error = allow_network(filter);
	if (!error && parts & MANAGING)
		error = allow_managing(filter, child);
	if (!error && parts & CLOCK)
		error = allow_clock(filter);
	if (!error && parts & CPU)
		error = allow_cpu(filter);
	return !error && parts & STARTING ? allow_starting(filter) : error;
}

scmp_filter_ctx filter__new(uint32_t otherwise)
{
	scmp_filter_ctx filter = seccomp_init(otherwise);
	if (!filter)
		return NULL;
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree and not a list, where it knows */
	/* numbers of another ABI: by itself it would end the thread, and leave the others of an intruder's */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	return filter;
}

static int shut(unsigned parts, bool child, const struct confine_work *work)
{
	scmp_filter_ctx filter = filter__new(SCMP_ACT_TRAP);
	int error = filter ? fill(filter, parts, child, work) : -ENOMEM;
	if (!error)
		error = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	return error;
}

int layer__syscalls(struct confine_work *work, struct confine_detail detail)
{
	const struct confine_request *request = work->request;
	int error = shut(request->network ? EVERYTHING : EVERYTHING & ~(unsigned)NETWORK, request->child, work);
	if (error)
		detail__say(detail, "seccomp: %s", strerror(-error));
	else
		detail__say(detail, "seccomp: an allow-list");
	return error;
}

void confine__narrow(enum confine_thread kind, bool child)
{
	/* filters add up: what one that came before forbids stays forbidden */
	if (shut(parts_of[kind], child, NULL) < 0)
		abort();
}
