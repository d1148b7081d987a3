/* Confinement seen from inside, as an intruder in the VMM's process would: each thing tried is refused. */
#include "confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "check.h"
#include "confine/tree.h"
#include "os/route.h"

static char top[64]; /* temporary directory: host/ with runtime/ in it, read/ write/ alone/ outside/ */
static char share_paths[3][96];

static struct {
	char host[80], runtime[96], outside[96];
	struct confine_share shares[3]; /* read/, write/ and the file alone/file */
	int roots[3];                   /* as the file system device has them */
	int proc;                       /* /proc/self/fd of who is confined, as it has that too */
	int listener;                   /* outside/socket */
	int child;                      /* a pidfd */
	bool survives;                  /* forbidden calls fail */
	pid_t parent;
	struct route route; /* as the net device has it */
	struct confine_request request;
	struct confine_report report;
} room;

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CHECK(strlen(path) < sizeof(address.sun_path));
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0);
	return fd;
}

static void write_text(const char *directory, const char *name, const char *text)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void set_up(void)
{
	memset(&room, 0, sizeof(room));
	snprintf(top, sizeof(top), "/tmp/capsa-confine.XXXXXX");
	CHECK(mkdtemp(top));
	snprintf(room.host, sizeof(room.host), "%s/host", top);
	snprintf(room.runtime, sizeof(room.runtime), "%s/runtime", room.host);
	snprintf(room.outside, sizeof(room.outside), "%s/outside", top);
	CHECK(mkdir(room.host, 0700) == 0 && mkdir(room.runtime, 0700) == 0 && mkdir(room.outside, 0700) == 0);
	write_text(room.host, "record", "record");
	write_text(room.runtime, "own", "own");
	write_text(room.outside, "secret", "secret");
	char socket_path[128];
	snprintf(socket_path, sizeof(socket_path), "%s/socket", room.outside);
	room.listener = listen_at(socket_path);
	static const char *const names[] = {"read", "write", "alone"};
	for (int i = 0; i < 3; i++) {
		snprintf(share_paths[i], sizeof(share_paths[i]), "%s/%s", top, names[i]);
		CHECK(mkdir(share_paths[i], 0700) == 0);
		write_text(share_paths[i], "file", "shared");
		if (i == 2) {
			write_text(share_paths[i], "beside", "secret");
			strcat(share_paths[i], "/file");
		}
		room.roots[i] = tree__open(share_paths[i], i == 0);
		CHECK(room.roots[i] >= 0);
		room.shares[i] = (struct confine_share){.fd = room.roots[i], .read_only = i == 0};
	}
	room.survives = true;
	room.parent = getpid();
	room.request = (struct confine_request){
		.mode = CONFINE_AUTO, .runtime_dir = room.runtime, .shares = room.shares, .share_count = 3};
}

static void tear_down(void)
{
	close(room.roots[0]);
	close(room.roots[1]);
	close(room.roots[2]);
	close(room.listener);
	char command[128];
	snprintf(command, sizeof(command), "rm -rf %s", top);
	CHECK_EQ(system(command), 0);
}

/* What ends a VMM fails in the tests, which try more than one thing. */
static void answer_eperm(int number, siginfo_t *info, void *context)
{
	ucontext_t *at = context;
	(void)number;
	(void)info;
	at->uc_mcontext.gregs[REG_RAX] = -EPERM;
}

static void survive_traps(void)
{
	struct sigaction action = {.sa_sigaction = answer_eperm, .sa_flags = SA_SIGINFO};
	CHECK_EQ(sigaction(SIGSYS, &action, NULL), 0);
}

/* Run `attempt` in a confined child and return its wait status; its value is the exit code. */
static int status_of(int (*attempt)(void))
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		struct failure why;
		room.proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (room.survives)
			survive_traps();
		if (confine__apply(&room.request, &room.report, &why) < 0)
			_exit(99);
		_exit(attempt());
	}
	int status = -1;
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

enum { REFUSED = 0, ALLOWED = 1 };

static int result_of(int (*attempt)(void))
{
	int status = status_of(attempt);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) /* where signals are blocked */
		return REFUSED;
	CHECK(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int open_at(int dir, const char *path, int flags)
{
	return openat(dir, path, flags | O_CLOEXEC, 0600) < 0 ? REFUSED : ALLOWED;
}

static int open_absolute(const char *directory, const char *name, int flags)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return open_at(AT_FDCWD, path, flags);
}

/* What this machine applies, as bits of 1 << layer. */
static int layers_applied(void)
{
	int bits = 0;
	for (int i = 0; i < CONFINE_LAYERS; i++)
		bits |= room.report.layers[i].applied << i;
	return bits;
}

static void need(unsigned layers)
{
	if (((unsigned)result_of(layers_applied) & layers) != layers) {
		tear_down();
		SKIP("a layer of confinement cannot be applied here");
	}
}

#define LAYER(name) (1U << CONFINE_##name)

/* ---- files ---- */

static int open_outside(void)
{
	return open_absolute(room.outside, "secret", O_RDONLY) | open_absolute("/etc", "passwd", O_RDONLY);
}

static int open_by_parents(void)
{
	return open_at(room.roots[1], "../outside/secret", O_RDONLY) |
	       open_at(room.roots[0], "../../../etc/passwd", O_RDONLY) |
	       open_at(room.roots[1], "../../../../../../proc/1/root/etc/passwd", O_RDONLY);
}

static int write_read_only(void)
{
	return open_at(room.roots[0], "file", O_WRONLY) | open_at(room.roots[0], "new", O_WRONLY | O_CREAT) |
	       (unlinkat(room.roots[0], "file", 0) == 0);
}

static int make_device(void)
{
	return mknodat(room.roots[1], "null", S_IFCHR | 0666, 1 << 8 | 3) == 0 &&
	       openat(room.roots[1], "null", O_WRONLY | O_CLOEXEC) >= 0;
}

static int make_whiteout(void)
{
	return mknodat(room.roots[1], "gone", S_IFCHR, 0) == 0;
}

static int use_own(void)
{
	char text[8];
	int fd = openat(room.roots[1], "new", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	bool written = fd >= 0 && write(fd, "x", 1) == 1 && ftruncate(fd, 0) == 0 &&
		       renameat(room.roots[1], "new", room.roots[1], "newer") == 0;
	fd = openat(room.roots[0], "file", O_RDONLY | O_CLOEXEC);
	bool seen = fd >= 0 && read(fd, text, sizeof(text)) == 6;
	return written && seen && open_absolute(room.runtime, "own", O_RDWR) == ALLOWED ? ALLOWED : REFUSED;
}

static int use_file(void)
{
	char number[16];
	snprintf(number, sizeof(number), "%d", room.roots[2]);
	int fd = openat(room.proc, number, O_RDWR | O_CLOEXEC);
	return fd >= 0 && write(fd, "x", 1) == 1 && ftruncate(fd, 0) == 0 ? ALLOWED : REFUSED;
}

static int open_beside(void)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/alone", top);
	return open_absolute(path, "beside", O_RDONLY) | open_absolute(path, "new", O_WRONLY | O_CREAT) |
	       open_at(room.roots[2], "../beside", O_RDONLY) | open_at(room.roots[2], "..", O_RDONLY);
}

static void a_file_is_shared_and_nothing_beside_it(void)
{
	set_up();
	CHECK_EQ(result_of(use_file), ALLOWED);
	CHECK_EQ(result_of(open_beside), REFUSED);
	tear_down();
}

static void files_outside_are_refused(void)
{
	set_up();
	CHECK((result_of(layers_applied) & (LAYER(NAMESPACES) | LAYER(FILES))) != 0);
	CHECK_EQ(result_of(open_outside), REFUSED);
	CHECK_EQ(result_of(open_by_parents), REFUSED);
	tear_down();
}

static int climb_as_user(void)
{
	if (setgid(65534) < 0 || setuid(65534) < 0)
		return REFUSED;
	int tree = tree__open(share_paths[1], false);
	bool works = openat(tree, "file", O_RDONLY | O_CLOEXEC) >= 0;
	return !works || openat(tree, "../outside/secret", O_RDONLY | O_CLOEXEC) >= 0;
}

/* Nothing else confines it here: it is the descriptor that leads nowhere. */
static void of_an_ordinary_user_as_well_a_share_leads_nowhere_but_down(void)
{
	set_up();
	if (geteuid() != 0) {
		tear_down();
		SKIP("it needs root, to become another user");
	}
	char command[160];
	snprintf(command, sizeof(command), "chown -R 65534:65534 %s", top);
	CHECK_EQ(system(command), 0);
	pid_t pid = fork();
	if (pid == 0) {
		bool may = unshare(CLONE_NEWUSER) == 0;
		_exit(may ? 0 : 1);
	}
	int may = -1, status = -1;
	CHECK(waitpid(pid, &may, 0) == pid);
	room.request.mode = CONFINE_NONE;
	pid = fork();
	if (pid == 0)
		_exit(climb_as_user());
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	if (may == 0)
		CHECK_EQ(WEXITSTATUS(status), REFUSED);
	tear_down();
}

static void a_read_only_share_stays_as_it_is(void)
{
	set_up();
	CHECK((result_of(layers_applied) & (LAYER(NAMESPACES) | LAYER(FILES))) != 0);
	CHECK_EQ(result_of(write_read_only), REFUSED);
	tear_down();
}

static void devices_are_not_made(void)
{
	set_up();
	CHECK_EQ(result_of(make_device), REFUSED);
	tear_down();
}

static void whiteouts_are_made_where_it_is_said_and_no_other_device_is(void)
{
	set_up();
	room.shares[1].whiteouts = true; /* elsewhere Landlock refuses them, but not in a tree that hangs nowhere */
	bool possible = make_whiteout(); /* not where the file system is an overlay itself */
	(void)unlinkat(room.roots[1], "gone", 0);
	CHECK_EQ(result_of(make_whiteout), possible ? ALLOWED : REFUSED);
	CHECK_EQ(result_of(make_device), REFUSED);
	tear_down();
}

static void shares_and_the_runtime_directory_go_on_working(void)
{
	set_up();
	CHECK_EQ(result_of(use_own), ALLOWED);
	tear_down();
}

/* What lies around its own directory is believed by others. */
static int change_host_side(void)
{
	char record[160], beside[160], own[160];
	snprintf(record, sizeof(record), "%s/record", room.host);
	snprintf(beside, sizeof(beside), "%s/beside", room.host);
	snprintf(own, sizeof(own), "%s/own", room.runtime);
	int runtime = open(room.runtime, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return open_absolute(room.host, "record", O_RDWR) | open_absolute(room.host, "beside", O_RDWR | O_CREAT) |
	       open_at(runtime, "../record", O_RDONLY) | (unlink(record) == 0) | (symlink("/etc", beside) == 0) |
	       (rename(own, beside) == 0) | (rename(own, record) == 0) | (link(own, beside) == 0) |
	       (symlinkat("/etc", runtime, "../beside") == 0) | (rename(room.runtime, beside) == 0) |
	       (rmdir(room.runtime) == 0) | (truncate(record, 0) == 0);
}

static void what_lies_around_its_own_directory_stays_as_it_is(void)
{
	set_up();
	CHECK((result_of(layers_applied) & (LAYER(NAMESPACES) | LAYER(FILES))) != 0);
	CHECK_EQ(result_of(change_host_side), REFUSED);
	CHECK_EQ(open_absolute(room.host, "record", O_RDWR), ALLOWED);
	CHECK_EQ(open_absolute(room.host, "beside", O_RDONLY), REFUSED);
	tear_down();
}

static int watch_own(void)
{
	char number[16];
	int fd = inotify_init1(IN_CLOEXEC);
	snprintf(number, sizeof(number), "%d", room.roots[1]);
	return fd >= 0 && fchdir(room.proc) == 0 && inotify_add_watch(fd, number, IN_CREATE) >= 0 ? ALLOWED : REFUSED;
}

static int watch_outside(void)
{
	int fd = inotify_init1(IN_CLOEXEC);
	return fd >= 0 && inotify_add_watch(fd, room.outside, IN_CREATE) >= 0 ? ALLOWED : REFUSED;
}

static void a_share_is_what_was_opened_whatever_has_its_name_by_then(void)
{
	char aside[128];
	set_up();
	for (int i = 0; i < 2; i++) {
		snprintf(aside, sizeof(aside), "%s.aside", share_paths[i]);
		CHECK(rename(share_paths[i], aside) == 0 && symlink(room.outside, share_paths[i]) == 0);
	}
	CHECK_EQ(result_of(use_own), ALLOWED);
	CHECK_EQ(result_of(open_outside), REFUSED);
	tear_down();
}

static void shares_are_watched_where_no_path_leads_outside(void)
{
	set_up();
	bool alone = result_of(layers_applied) & LAYER(NAMESPACES);
	CHECK_EQ(result_of(watch_own), alone ? ALLOWED : REFUSED);
	CHECK_EQ(result_of(watch_outside), REFUSED);
	tear_down();
}

/* ---- sockets ---- */

static int connect_to(const char *path, size_t len)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, path, len);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd >= 0 &&
	       connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0;
}

static int connect_outside(void)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/socket", room.outside);
	return connect_to(path, strlen(path));
}

static int connect_abstract(void)
{
	return connect_to("\0capsa-confine-test", 19);
}

static int connect_inside(void)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/socket", room.runtime);
	return connect_to(path, strlen(path));
}

static int make_network_sockets(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) >= 0 || socket(AF_INET6, SOCK_DGRAM, 0) >= 0 ||
	       socket(AF_NETLINK, SOCK_RAW, 0) >= 0 || socket(AF_VSOCK, SOCK_STREAM, 0) >= 0;
}

static void sockets_outside_are_refused(void)
{
	set_up();
	need(LAYER(NAMESPACES) | LAYER(SYSCALLS));
	CHECK_EQ(result_of(connect_outside), REFUSED);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, "\0capsa-confine-test", 19);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 19) == 0 &&
	      listen(fd, 1) == 0);
	CHECK_EQ(connect_abstract(), ALLOWED);
	CHECK_EQ(result_of(connect_abstract), REFUSED);
	close(fd);
	tear_down();
}

static void network_sockets_are_refused(void)
{
	set_up();
	CHECK_EQ(result_of(make_network_sockets), REFUSED);
	tear_down();
}

static int make_unix_sockets(void)
{
	int pair[2];
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || socket(AF_UNIX, SOCK_DGRAM, 0) >= 0 ||
	       socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0;
}

/* Others open them for it: none of its own could be connected to a socket of somebody else's. */
static void unix_sockets_are_not_made(void)
{
	set_up();
	need(LAYER(SYSCALLS));
	CHECK_EQ(result_of(make_unix_sockets), REFUSED);
	CHECK_EQ(result_of(connect_inside), REFUSED);
	room.request.network = true;
	CHECK_EQ(result_of(make_unix_sockets), REFUSED);
	tear_down();
}

/* ---- processes ---- */

static int execute(void)
{
	execl("/bin/true", "true", NULL);
	return REFUSED;
}

static int trace(void)
{
	return ptrace(PTRACE_ATTACH, room.parent, NULL, NULL) == 0;
}

static int kill_parent(void)
{
	return kill(room.parent, 0) == 0 || syscall(SYS_tgkill, room.parent, room.parent, 0) == 0 ||
	       syscall(SYS_pidfd_open, room.parent, 0) >= 0;
}

/* The kernel sends a signal of choice, to whoever was named, for input on a descriptor. */
static int signal_by_input(void)
{
	int pair[2] = {room.listener};
	return fcntl(pair[0], F_SETOWN, room.parent) == 0 || fcntl(pair[0], F_SETSIG, SIGWINCH) == 0 ||
	       fcntl(pair[0], F_SETFL, O_ASYNC) == 0 || fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0;
}

static int make_process(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	return pid > 0;
}

static void *nothing(void *arg)
{
	return arg;
}

static int make_thread(void)
{
	pthread_t thread;
	return pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0;
}

static void exec_and_ptrace_end_the_process(void)
{
	set_up();
	room.survives = false;
	int status = status_of(execute);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGSYS);
	status = status_of(trace);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGSYS);
	tear_down();
}

#define OF_X32 0x40000000 /* marks a system call of another ABI, with other numbers */

static void *call_by_another_abi(void *arg)
{
	syscall(OF_X32 | SYS_getpid);
	return arg;
}

static int call_on_a_thread(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, call_by_another_abi, NULL) == 0)
		pthread_join(thread, NULL);
	return ALLOWED;
}

/* Not only the thread: the others are an intruder's as well. */
static void a_call_of_another_abi_ends_the_process(void)
{
	set_up();
	need(LAYER(SYSCALLS));
	int status = status_of(call_on_a_thread);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGSYS);
	tear_down();
}

static void signals_to_others_are_refused(void)
{
	set_up();
	CHECK_EQ(result_of(kill_parent), REFUSED);
	CHECK_EQ(result_of(signal_by_input), REFUSED);
	tear_down();
}

/* 1: what devices ask and set; 2: a pidfd of who is at the other end, or who sends */
static int use_options(void)
{
	const int on = 1;
	int value, pass = 76, peer = 77; /* SO_PASSPIDFD, SO_PEERPIDFD: headers may be older */
	socklen_t len = sizeof(value);
	int can = getsockopt(room.listener, SOL_SOCKET, SO_ERROR, &value, &len) == 0 &&
				  setsockopt(room.listener, SOL_SOCKET, SO_SNDBUF, &on, sizeof(on)) == 0
			  ? 1
			  : 0;
	len = sizeof(value);
	if (getsockopt(room.listener, SOL_SOCKET, peer, &value, &len) == 0 || errno != EPERM ||
	    setsockopt(room.listener, SOL_SOCKET, pass, &on, sizeof(on)) == 0 || errno != EPERM)
		can |= 2;
	return can;
}

static int use_options_as_main(void)
{
	confine__narrow(CONFINE_MAIN, true);
	return use_options();
}

static int use_options_as_network(void)
{
	confine__narrow(CONFINE_NETWORK, true);
	return use_options();
}

/* With one it could end whoever that is. */
static void sockets_give_no_processes(void)
{
	set_up();
	need(LAYER(SYSCALLS));
	room.request.child = true;
	room.request.network = true;
	CHECK_EQ(result_of(use_options_as_main), 1);
	CHECK_EQ(result_of(use_options_as_network), 1);
	tear_down();
}

/* 1: kill it; 2: another signal, or by a number, which may be another's by then */
static int signal_child(void)
{
	int can = syscall(SYS_pidfd_send_signal, room.child, 0, NULL, 0) == 0 || kill_parent() ? 2 : 0;
	return can | (syscall(SYS_pidfd_send_signal, room.child, SIGKILL, NULL, 0) == 0);
}

static void one_child_is_killed_and_nobody_else(void)
{
	set_up();
	need(LAYER(SYSCALLS));
	pid_t pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	room.child = (int)syscall(SYS_pidfd_open, pid, 0);
	CHECK(room.child >= 0);
	CHECK_EQ(result_of(signal_child), 0);
	room.request.child = true;
	CHECK_EQ(result_of(signal_child), 1);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	close(room.child);
	tear_down();
}

static void threads_are_made_but_no_processes(void)
{
	set_up();
	CHECK_EQ(result_of(make_process), REFUSED);
	CHECK_EQ(result_of(make_thread), ALLOWED);
	tear_down();
}

/* ---- privileges ---- */

static int make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ||
	       mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

static int rise(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.effective = 1U << CAP_SYS_ADMIN, .permitted = 1U << CAP_SYS_ADMIN}};
	return syscall(SYS_capset, &header, data) == 0 || setuid(0) == 0 || unshare(CLONE_NEWUSER) == 0 ||
	       syscall(SYS_keyctl, 0, 0) >= 0 || syscall(SYS_userfaultfd, 0) >= 0;
}

static int leave_root(void)
{
	(void)!fchdir(room.roots[1]);
	return chroot(".") == 0 ? ALLOWED : REFUSED;
}

static void code_is_not_made(void)
{
	set_up();
	CHECK_EQ(result_of(make_code), REFUSED);
	tear_down();
}

static void privileges_are_not_regained(void)
{
	set_up();
	CHECK_EQ(result_of(rise), REFUSED);
	room.survives = false;
	int status = status_of(leave_root);
	CHECK(WIFSIGNALED(status));
	tear_down();
}

/* ---- threads and modes ---- */

static int narrowed_vcpu(void)
{
	confine__narrow(CONFINE_VCPU, false);
	return open_at(room.roots[1], "file", O_RDONLY) | open_absolute(room.runtime, "own", O_RDONLY) |
	       (socket(AF_UNIX, SOCK_STREAM, 0) >= 0) | make_thread();
}

static int narrowed_still_runs(void)
{
	confine__narrow(CONFINE_QUIET, false);
	int fd = open_absolute(room.runtime, "own", O_RDONLY);
	void *memory = malloc(1 << 20);
	free(memory);
	return fd == REFUSED && memory ? ALLOWED : REFUSED;
}

/* 1: TCP and UDP sockets of both families; 2: others; 4: files; 8: streams to Unix sockets, 16: datagrams */
static int reach(void)
{
	int can = 0;
	if (socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) >= 0 && socket(AF_INET6, SOCK_DGRAM, 0) >= 0)
		can |= 1;
	if (socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP) >= 0 || socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE) >= 0 ||
	    socket(AF_INET, SOCK_RAW, IPPROTO_TCP) >= 0 || socket(AF_PACKET, SOCK_RAW, 0) >= 0 ||
	    socket(AF_PACKET, SOCK_DGRAM, 0) >= 0 || socket(AF_NETLINK, SOCK_RAW, 0) >= 0 ||
	    socket(AF_VSOCK, SOCK_STREAM, 0) >= 0)
		can |= 2;
	if (open_absolute(room.runtime, "own", O_RDONLY) == ALLOWED)
		can |= 4;
	if (socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0)
		can |= socket(AF_UNIX, SOCK_DGRAM, 0) >= 0 ? 8 | 16 : 8;
	return can;
}

static int reach_as_network(void)
{
	confine__narrow(CONFINE_NETWORK, false);
	return reach();
}

/* 1: of which addresses are its own; 2: of the machine's interfaces */
static int ask_as_network(void)
{
	static const uint8_t loopback[4] = {127, 0, 0, 1}, other[4] = {192, 0, 2, 1};
	confine__narrow(CONFINE_NETWORK, false);
	bool told = route__is_local(&room.route, AF_INET, loopback) == 1 &&
		    route__is_local(&room.route, AF_INET, other) == 0;
	struct {
		struct nlmsghdr header;
		struct rtgenmsg what;
	} all = {{sizeof(all), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
	char answer[4096];
	return (told ? 1 : 0) | (send(room.route.fd, &all, sizeof(all), 0) == (ssize_t)sizeof(all) &&
						 recv(room.route.fd, answer, sizeof(answer), MSG_DONTWAIT) > 0
					 ? 2
					 : 0);
}

static int reach_from_main(void)
{
	confine__narrow(CONFINE_MAIN, false);
	return reach();
}

static void one_thread_has_the_network_and_nothing_else(void)
{
	set_up();
	need(LAYER(SYSCALLS));
	room.request.network = true;
	CHECK_EQ(result_of(reach_as_network), 1);
	CHECK_EQ(result_of(reach_from_main), 4);
	room.request.network = false;
	CHECK_EQ(result_of(reach_as_network), 0);
	tear_down();
}

static void the_network_thread_asks_for_routes_and_for_nothing_else(void)
{
	set_up();
	CHECK_EQ(route__open(&room.route), 0);
	room.request.network = true;
	CHECK_EQ(result_of(ask_as_network), 1);
	route__close(&room.route);
	tear_down();
}

/* No descriptor is one for it here: another error than the filter's. */
static int answer_calls(void)
{
	struct seccomp_notif call = {.id = 0};
	return ioctl(room.listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0 && errno == EPERM ? REFUSED : ALLOWED;
}

static int answer_calls_from_main(void)
{
	confine__narrow(CONFINE_MAIN, true);
	return answer_calls();
}

static void calls_of_qemu_are_answered_while_it_starts(void)
{
	set_up();
	need(LAYER(SYSCALLS));
	CHECK_EQ(result_of(answer_calls), ALLOWED);
	CHECK_EQ(result_of(answer_calls_from_main), REFUSED);
	tear_down();
}

static void a_vcpu_has_neither_files_nor_sockets(void)
{
	set_up();
	CHECK_EQ(result_of(narrowed_vcpu), REFUSED);
	CHECK_EQ(result_of(narrowed_still_runs), ALLOWED);
	tear_down();
}

static int narrowed_disk_works(void)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/disk", room.runtime);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	unlink(path);
	struct iovec iov = {.iov_base = (char[512]){"sector"}, .iov_len = 512};
	confine__narrow(CONFINE_DISK, false);
	return pwritev(fd, &iov, 1, 512) == 512 && preadv(fd, &iov, 1, 512) == 512 && fdatasync(fd) == 0 ? ALLOWED
													 : REFUSED;
}

static int narrowed_disk_opens(void)
{
	confine__narrow(CONFINE_DISK, false);
	return open_absolute(room.runtime, "own", O_RDONLY) == REFUSED ? REFUSED : ALLOWED;
}

static void a_disk_has_its_file_and_no_other(void)
{
	set_up();
	CHECK_EQ(result_of(narrowed_disk_works), ALLOWED);
	CHECK_EQ(result_of(narrowed_disk_opens), REFUSED);
	tear_down();
}

static void nothing_is_applied_when_so_asked(void)
{
	set_up();
	room.request.mode = CONFINE_NONE;
	CHECK_EQ(result_of(layers_applied), 0);
	CHECK_EQ(result_of(open_outside), ALLOWED);
	tear_down();
}

static int describe(void)
{
	for (int i = 0; i < CONFINE_LAYERS; i++)
		if (!room.report.layers[i].name || !room.report.layers[i].detail[0])
			return REFUSED;
	return ALLOWED;
}

static void the_report_names_every_layer(void)
{
	set_up();
	CHECK_EQ(result_of(describe), ALLOWED);
	room.request.mode = CONFINE_REQUIRE;
	CHECK_EQ(result_of(describe), ALLOWED);
	tear_down();
}

int main(void)
{
	CASE(files_outside_are_refused);
	CASE(a_read_only_share_stays_as_it_is);
	CASE(of_an_ordinary_user_as_well_a_share_leads_nowhere_but_down);
	CASE(devices_are_not_made);
	CASE(whiteouts_are_made_where_it_is_said_and_no_other_device_is);
	CASE(a_file_is_shared_and_nothing_beside_it);
	CASE(shares_and_the_runtime_directory_go_on_working);
	CASE(a_share_is_what_was_opened_whatever_has_its_name_by_then);
	CASE(what_lies_around_its_own_directory_stays_as_it_is);
	CASE(shares_are_watched_where_no_path_leads_outside);
	CASE(sockets_outside_are_refused);
	CASE(network_sockets_are_refused);
	CASE(unix_sockets_are_not_made);
	CASE(exec_and_ptrace_end_the_process);
	CASE(a_call_of_another_abi_ends_the_process);
	CASE(signals_to_others_are_refused);
	CASE(sockets_give_no_processes);
	CASE(one_child_is_killed_and_nobody_else);
	CASE(threads_are_made_but_no_processes);
	CASE(code_is_not_made);
	CASE(privileges_are_not_regained);
	CASE(one_thread_has_the_network_and_nothing_else);
	CASE(the_network_thread_asks_for_routes_and_for_nothing_else);
	CASE(calls_of_qemu_are_answered_while_it_starts);
	CASE(a_vcpu_has_neither_files_nor_sockets);
	CASE(a_disk_has_its_file_and_no_other);
	CASE(nothing_is_applied_when_so_asked);
	CASE(the_report_names_every_layer);
	return check__done();
}
