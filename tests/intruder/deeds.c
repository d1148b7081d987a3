/* What an intruder tries: in the VMM's process, or as QEMU's. */
#include "deeds.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { DONE = 0, MAX_FD = 256 };

/* What a call came to: DONE when it was let through, else errno. */
static int outcome(long result)
{
	return result < 0 ? errno : DONE;
}

/* ---- files ---- */

static int do_read(const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY);
	return fd < 0 ? errno : outcome(read(fd, &byte, 1));
}

static int do_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	return fd < 0 ? errno : outcome(write(fd, "intruder", 8));
}

static int do_list(const char *path)
{
	return outcome(open(path, O_RDONLY | O_DIRECTORY));
}

/* From every descriptor there is, upwards. DONE when one of them led to the file. */
static int do_climb(const char *path)
{
	char up[DEED_MAX + 64];
	int result = EBADF;
	snprintf(up, sizeof(up), "../../../../../../../../../..%s", path);
	for (int fd = 0; fd < MAX_FD && result != DONE; fd++)
		result = outcome(openat(fd, up, O_RDONLY));
	return result;
}

/* A link in every directory there is, and through it. */
static int do_follow(const char *path)
{
	int result = EBADF;
	for (int fd = 0; fd < MAX_FD && result != DONE; fd++) {
		int made = symlinkat(path, fd, "trap");
		result = made < 0 ? errno : outcome(openat(fd, "trap", O_RDONLY));
		if (made == 0)
			unlinkat(fd, "trap", 0);
	}
	return result;
}

/* Every file that it was handed, open for writing. Memory that it shares is not one. */
static int do_reopen(const char *arg)
{
	char path[32];
	struct stat status;
	int result = EBADF;
	(void)arg;
	for (int fd = 0; fd < MAX_FD && result != DONE; fd++) {
		if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || fcntl(fd, F_GET_SEALS) >= 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		result = outcome(open(path, O_RDWR));
	}
	return result;
}

/* Be told of what happens there. */
static int do_watch(const char *path)
{
	int fd = inotify_init1(IN_CLOEXEC);
	return fd < 0 ? errno : outcome(inotify_add_watch(fd, path, IN_ALL_EVENTS));
}

/* A device of that number in every directory there is, and open it. */
static int do_device(const char *number)
{
	int result = EBADF;
	for (int fd = 0; fd < MAX_FD && result != DONE; fd++) {
		int made = mknodat(fd, "device", S_IFCHR | 0666, (dev_t)strtoul(number, NULL, 0));
		result = made < 0 ? errno : outcome(openat(fd, "device", O_RDWR));
		if (made == 0)
			unlinkat(fd, "device", 0);
	}
	return result;
}

/* ---- sockets ---- */

static int connect_to(int family, const void *address, socklen_t len)
{
	int fd = socket(family, SOCK_STREAM, 0);
	return fd < 0 ? errno : outcome(connect(fd, address, len));
}

static int do_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return connect_to(AF_UNIX, &address, sizeof(address));
}

static int do_abstract(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "%s", name);
	return connect_to(AF_UNIX, &address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
}

static int do_tcp(const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)atoi(port)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return connect_to(AF_INET, &address, sizeof(address));
}

static int do_socket(const char *family)
{
	for (int type = 1; type <= 5; type++)
		if (socket(atoi(family), type, 0) >= 0)
			return DONE;
	return errno;
}

/* Datagrams of one end go to whatever address they are given, unlike those of a stream. */
static int do_pair(const char *type)
{
	int pair[2];
	return outcome(socketpair(AF_UNIX, atoi(type), 0, pair));
}

/* The kernel has had these since Linux 6.5; headers may be older. */
#define OPTION_PASS_PIDFD 76
#define OPTION_PEER_PIDFD 77

/* A hold on the process at the other end of every socket it was handed, and of one that it makes. */
static int do_peer_pidfd(const char *arg)
{
	int pair[2], result = EBADF;
	(void)arg;
	(void)!socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	for (int fd = 0; fd < MAX_FD && result != DONE; fd++) {
		int pidfd;
		socklen_t len = sizeof(pidfd);
		result = outcome(getsockopt(fd, SOL_SOCKET, OPTION_PEER_PIDFD, &pidfd, &len));
	}
	return result;
}

/* The same of whoever sends something. */
static int do_pass_pidfd(const char *arg)
{
	const int on = 1;
	int pair[2], result = EBADF;
	(void)arg;
	(void)!socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	for (int fd = 0; fd < MAX_FD && result != DONE; fd++)
		result = outcome(setsockopt(fd, SOL_SOCKET, OPTION_PASS_PIDFD, &on, sizeof(on)));
	return result;
}

/* ---- processes ---- */

static int do_exec(const char *path)
{
	return outcome(execl(path, path, (char *)NULL));
}

static int do_exec_memory(const char *path)
{
	char *const none[] = {NULL};
	(void)path;
	int fd = memfd_create("program", 0);
	if (fd < 0)
		return errno;
	(void)!write(fd, "#!/bin/sh\n", 10);
	return outcome(syscall(SYS_execveat, fd, "", none, none, AT_EMPTY_PATH));
}

/* By the number from which on there are no descriptors, which may be the one that is allowed to be executed: an
 * absolute path, to a program that it has made, makes nothing of the number. */
static int do_exec_number(const char *arg)
{
	char path[32];
	char *const none[] = {NULL};
	struct rlimit limit;
	(void)arg;
	int fd = memfd_create("program", 0);
	if (fd < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return errno;
	(void)!write(fd, "#!/bin/sh\n", 10);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	const int number = (int)limit.rlim_cur;
	syscall(SYS_execveat, number, path, none, none, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
	return errno != ELOOP ? DONE : outcome(syscall(SYS_execveat, number, path, none, none, AT_EMPTY_PATH));
}

static int do_fork(const char *arg)
{
	(void)arg;
	pid_t pid = (pid_t)syscall(SYS_fork);
	if (pid == 0)
		_exit(0);
	return outcome(pid);
}

static int do_clone(const char *flags)
{
	pid_t pid = (pid_t)syscall(SYS_clone, strtoul(flags, NULL, 0), 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	return outcome(pid);
}

static int do_ptrace(const char *pid)
{
	return outcome(ptrace(PTRACE_ATTACH, atoi(pid), NULL, NULL));
}

static int copy_memory(long number, const char *pid)
{
	char byte;
	struct iovec own = {&byte, 1}, other = {(void *)&copy_memory, 1};
	return outcome(syscall(number, atoi(pid), &own, 1, &other, 1, 0));
}

static int do_read_memory(const char *pid)
{
	return copy_memory(SYS_process_vm_readv, pid);
}

static int do_write_memory(const char *pid)
{
	return copy_memory(SYS_process_vm_writev, pid);
}

static int do_kill(const char *pid)
{
	return outcome(kill(atoi(pid), SIGKILL));
}

/* Whether it may be sent signals, without sending one. */
static int do_reach(const char *pid)
{
	return outcome(kill(atoi(pid), 0));
}

static int do_tgkill(const char *pid)
{
	return outcome(syscall(SYS_tgkill, atoi(pid), atoi(pid), SIGKILL));
}

static int do_sigqueue(const char *pid)
{
	siginfo_t info = {.si_signo = SIGKILL, .si_code = SI_QUEUE};
	return outcome(syscall(SYS_rt_sigqueueinfo, atoi(pid), SIGKILL, &info));
}

static int do_pidfd(const char *pid)
{
	long fd = syscall(SYS_pidfd_open, atoi(pid), 0);
	return fd < 0 ? errno : outcome(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0));
}

/* Signals as the kernel sends them for input on a descriptor: DONE when the descriptor will. */
static int do_sigio(const char *pid)
{
	int pair[2], result = EBADF;
	int made = socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	for (int fd = made == 0 ? pair[0] : 0; fd < (made == 0 ? pair[0] + 1 : MAX_FD) && result != DONE; fd++) {
		result = outcome(fcntl(fd, F_SETOWN, atoi(pid)));
		if (result == DONE)
			result = outcome(fcntl(fd, F_SETSIG, SIGKILL));
		if (result == DONE)
			result = outcome(fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK));
	}
	if (made == 0)
		(void)!write(pair[1], "x", 1);
	return result;
}

/* ---- the kernel ---- */

/* A filter that asks whoever has the descriptor: that one may let through what another filter would have asked about.
 */
static int do_listen_calls(const char *arg)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	const struct sock_fprog program = {.len = 1, .filter = &allow};
	(void)arg;
	return outcome(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

static int do_new_machine(const char *arg)
{
	int result = EBADF;
	(void)arg;
	for (int fd = 0; fd < MAX_FD && result != DONE; fd++)
		result = outcome(ioctl(fd, KVM_CREATE_VM, 0));
	return result;
}

static int do_type(const char *text)
{
	int result = EBADF;
	for (int fd = 0; fd < MAX_FD && result != DONE; fd++)
		result = outcome(ioctl(fd, TIOCSTI, text));
	return result;
}

static int do_code(const char *arg)
{
	(void)arg;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
		       ? errno
		       : DONE;
}

static int do_code_later(const char *arg)
{
	(void)arg;
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return page == MAP_FAILED ? errno : outcome(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

/* Any system call by its name, and its arguments as numbers. */
static int do_call(const char *arg)
{
	char name[64];
	long number[6] = {0};
	if (sscanf(arg, "%63s %li %li %li %li %li %li", name, &number[0], &number[1], &number[2], &number[3],
		   &number[4], &number[5]) < 1)
		return DEED_NOT_UNDERSTOOD;
	int call = seccomp_syscall_resolve_name(name);
	if (call < 0)
		return DEED_NOT_UNDERSTOOD;
	return outcome(syscall(call, number[0], number[1], number[2], number[3], number[4], number[5]));
}

static const struct {
	const char *name;
	int (*act)(const char *arg);
} deeds[] = {
	{"read", do_read},
	{"write", do_write},
	{"list", do_list},
	{"climb", do_climb},
	{"follow", do_follow},
	{"reopen", do_reopen},
	{"watch", do_watch},
	{"device", do_device},
	{"unix", do_unix},
	{"abstract", do_abstract},
	{"tcp", do_tcp},
	{"socket", do_socket},
	{"pair", do_pair},
	{"peer-pidfd", do_peer_pidfd},
	{"pass-pidfd", do_pass_pidfd},
	{"exec", do_exec},
	{"exec-memory", do_exec_memory},
	{"exec-number", do_exec_number},
	{"fork", do_fork},
	{"clone", do_clone},
	{"ptrace", do_ptrace},
	{"read-memory", do_read_memory},
	{"write-memory", do_write_memory},
	{"kill", do_kill},
	{"reach", do_reach},
	{"tgkill", do_tgkill},
	{"sigqueue", do_sigqueue},
	{"pidfd", do_pidfd},
	{"sigio", do_sigio},
	{"listen-calls", do_listen_calls},
	{"new-machine", do_new_machine},
	{"type", do_type},
	{"code", do_code},
	{"code-later", do_code_later},
	{"call", do_call},
};

int deeds__act(const char *deed, const char *arg)
{
	for (unsigned i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++)
		if (strcmp(deeds[i].name, deed) == 0)
			return deeds[i].act(arg);
	return DEED_NOT_UNDERSTOOD;
}
