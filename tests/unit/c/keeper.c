/* A VMM that was taken over, seen by its keeper: it is ended whatever it says and whatever it does not. */
#include "vmm/keeper/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "vmm/build/handover.h"
#include "vmm/keeper/link.h"

#define STEP_US 20000
#define PATIENCE (6000000 / STEP_US) /* steps: beyond the keeper's */
#define LONG_PATIENCE (16000000 / STEP_US)

static struct vmm_config config;

/* The keeper, the VMM, and what is somebody else's: a socket on whose other side nobody reads. */
static struct running {
	pid_t keeper, vmm;
	int control, elsewhere[2];
	char runtime[64];
} running;

/* What a VMM that was taken over does; it heeds no signal that can be left unheeded. */

static void ask_again(const struct keeper *keeper)
{
	for (;;) {
		link__tell(keeper->link, LINK_CLEAN);
		usleep(STEP_US);
	}
}

/* It takes no answer. */
static void ask_without_end(const struct keeper *keeper)
{
	static const char message = LINK_CLEAN;
	for (;;)
		(void)!send(keeper->link, &message, 1, MSG_NOSIGNAL);
}

static void ask_the_janitor_without_end(const struct keeper *keeper)
{
	static const char message = LINK_CLEAN;
	for (;;)
		(void)!send(keeper->janitor, &message, 1, MSG_NOSIGNAL);
}

static void send_descriptor(int to, int fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	char byte = LINK_NOTHING;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	(void)!sendmsg(to, &msg, MSG_NOSIGNAL);
}

/* An empty message is as good as the end, and what comes after it, while the keeper is busy, nobody reads. */
static void leave_the_janitors_link_in_the_keepers(const struct keeper *keeper)
{
	link__tell(keeper->link, LINK_CLEAN);
	(void)!send(keeper->link, "", 0, MSG_NOSIGNAL);
	send_descriptor(keeper->link, keeper->janitor);
	for (;;)
		pause();
}

static void leave_its_links_elsewhere(const struct keeper *keeper)
{
	send_descriptor(running.elsewhere[1], keeper->janitor);
	send_descriptor(running.elsewhere[1], keeper->link);
	_exit(0);
}

static void live_on(const struct keeper *keeper)
{
	(void)keeper;
	for (;;)
		pause();
}

/* Where nothing keeps it from that. */
static void leave_a_child(const struct keeper *keeper)
{
	(void)keeper;
	if (fork() == 0) {
		alarm(20);
		for (;;)
			pause();
	}
	_exit(0);
}

/* Start both; the VMM does that. */
static void begin(void (*vmm)(const struct keeper *keeper))
{
	int control[2], told[2];
	snprintf(running.runtime, sizeof(running.runtime), "/tmp/capsa-keeper-XXXXXX");
	CHECK(mkdtemp(running.runtime) != NULL);
	config.runtime_dir = running.runtime;
	config.engine = "kvm";
	config.confine = CONFINE_AUTO;
	config.log_limit = 4096;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) == 0 && pipe(told) == 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, running.elsewhere), 0);
	fflush(stdout);
	running.keeper = fork();
	if (running.keeper == 0) {
		struct keeper keeper;
		close(control[0]);
		close(running.elsewhere[0]);
		int split = keeper__split(&keeper, &config, control[1]);
		if (split == 0) {
			pid_t pid = getpid();
			if (write(told[1], &pid, sizeof(pid)) == sizeof(pid))
				vmm(&keeper);
			_exit(1);
		}
		close(running.elsewhere[1]);
		_exit(split < 0 ? 1 : keeper__watch(&keeper));
	}
	CHECK(running.keeper > 0);
	close(control[1]);
	close(running.elsewhere[1]);
	running.control = control[0];
	CHECK_EQ(read(told[0], &running.vmm, sizeof(running.vmm)), (ssize_t)sizeof(running.vmm));
	close(told[0]);
	close(told[1]);
}

static bool gone(pid_t pid, int steps)
{
	for (int i = 0; i < steps; i++, usleep(STEP_US))
		if (waitpid(pid, NULL, WNOHANG) == pid || (kill(pid, 0) < 0 && errno == ESRCH))
			return true;
	kill(pid, SIGKILL);
	return false;
}

static bool exists(void)
{
	struct stat st;
	return lstat(running.runtime, &st) == 0;
}

static bool cleaned(void)
{
	for (int i = 0; i < PATIENCE && exists(); i++)
		usleep(STEP_US);
	return !exists();
}

/* Both processes and the directory are gone, soon; what is left is killed and not forgotten. */
static void end(int steps)
{
	bool keeper_ended = gone(running.keeper, steps), vmm_ended = gone(running.vmm, steps), clean = cleaned();
	close(running.control);
	close(running.elsewhere[0]);
	if (!clean)
		rmdir(running.runtime);
	CHECK(keeper_ended);
	CHECK(vmm_ended);
	CHECK(clean);
}

static void a_vmm_that_says_it_ends_is_ended(void)
{
	begin(ask_again);
	CHECK(cleaned());
	CHECK_EQ(kill(running.keeper, SIGTERM), 0);
	end(PATIENCE);
}

static void one_that_asks_and_takes_no_answer_is_ended(void)
{
	begin(ask_without_end);
	CHECK(cleaned());
	usleep(10 * STEP_US);
	CHECK_EQ(kill(running.keeper, SIGTERM), 0);
	end(PATIENCE);
}

static void none_is_cleaned_up_after_while_it_lives_on(void)
{
	begin(ask_the_janitor_without_end);
	usleep(25 * STEP_US);
	bool there = exists();
	CHECK_EQ(kill(running.keeper, SIGTERM), 0);
	end(PATIENCE);
	CHECK(there);
}

static void a_link_within_a_link_holds_up_nobody(void)
{
	begin(leave_the_janitors_link_in_the_keepers);
	end(PATIENCE);
}

static void nor_do_links_that_others_have(void)
{
	begin(leave_its_links_elsewhere);
	end(PATIENCE);
}

static void nor_does_a_child_that_lives_on(void)
{
	begin(leave_a_child);
	end(PATIENCE);
}

/* Both at a time, for they take theirs. */
static void whatever_it_does_the_janitor_or_its_time_ends_it(void)
{
	begin(live_on);
	CHECK_EQ(kill(running.keeper, SIGKILL), 0);
	const struct running without_keeper = running;
	config.ttl = 100;
	begin(live_on);
	config.ttl = 0;
	end(LONG_PATIENCE);
	running = without_keeper;
	end(PATIENCE);
}

int main(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* what is left is this process's to collect */
	if (dup2(STDIN_FILENO, HANDOVER_CONTROL) < 0 || dup2(STDIN_FILENO, LINK_FD) < 0) /* as in the VMM: taken */
		return 1;
	CASE(a_vmm_that_says_it_ends_is_ended);
	CASE(one_that_asks_and_takes_no_answer_is_ended);
	CASE(none_is_cleaned_up_after_while_it_lives_on);
	CASE(a_link_within_a_link_holds_up_nobody);
	CASE(nor_do_links_that_others_have);
	CASE(nor_does_a_child_that_lives_on);
	CASE(whatever_it_does_the_janitor_or_its_time_ends_it);
	return check__done();
}
