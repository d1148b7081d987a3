/* A VMM that was taken over, seen by its keeper: it is ended whatever it says and whatever it does not. */
#include "vmm/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "vmm/link.h"

#define STEP_US 20000
#define PATIENCE (6000000 / STEP_US) /* steps: beyond the keeper's */

static char runtime[64];
static struct vmm_config config;

/* In the VMM, which says that it ends, does not, and heeds no signal that can be left unheeded. */
__attribute__((noreturn)) static void obey_nobody(const struct keeper *keeper, int told)
{
	pid_t pid = getpid();
	if (write(told, &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
	for (;;) {
		link__tell(keeper->link, LINK_CLEAN);
		usleep(STEP_US);
	}
}

static bool gone(pid_t pid)
{
	for (int i = 0; i < PATIENCE; i++, usleep(STEP_US))
		if (waitpid(pid, NULL, WNOHANG) == pid || (kill(pid, 0) < 0 && errno == ESRCH))
			return true;
	return false;
}

static bool cleaned(void)
{
	struct stat st;
	for (int i = 0; i < PATIENCE; i++, usleep(STEP_US))
		if (lstat(runtime, &st) < 0)
			return true;
	return false;
}

static void a_vmm_that_says_it_ends_is_ended(void)
{
	int control[2], told[2];
	pid_t vmm = 0;
	snprintf(runtime, sizeof(runtime), "/tmp/capsa-keeper-XXXXXX");
	CHECK(mkdtemp(runtime) != NULL);
	config = (struct vmm_config){.runtime_dir = runtime, .log_limit = 4096};
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) == 0 && pipe(told) == 0);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		struct keeper keeper;
		close(control[0]);
		int split = keeper__split(&keeper, &config, control[1]);
		if (split == 0)
			obey_nobody(&keeper, told[1]);
		_exit(split < 0 ? 1 : keeper__watch(&keeper));
	}
	CHECK(pid > 0);
	close(control[1]);
	CHECK_EQ(read(told[0], &vmm, sizeof(vmm)), (ssize_t)sizeof(vmm));
	CHECK(cleaned());
	CHECK_EQ(kill(pid, SIGTERM), 0);
	bool ended = gone(pid);
	if (!ended)
		kill(pid, SIGKILL);
	bool vmm_ended = gone(vmm);
	if (!vmm_ended)
		kill(vmm, SIGKILL);
	CHECK(ended);
	CHECK(vmm_ended);
	close(control[0]);
	close(told[0]);
	close(told[1]);
}

int main(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* what is left is this process's to collect */
	CASE(a_vmm_that_says_it_ends_is_ended);
	return check__done();
}
