/* Processes by pidfd, signalfd and prctl. */
#include "os/process.h"

#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

int process__open(pid_t pid)
{
	int process = pidfd_open(pid, 0);
	return process < 0 ? -errno : process;
}

int process__signal(int process, int signal)
{
	return pidfd_send_signal(process, signal, NULL, 0) < 0 ? -errno : 0;
}

void process__name(const char *name)
{
	prctl(PR_SET_NAME, name);
}

void process__end_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void process__adopt(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

int end_signals__open(void)
{
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

bool end_signals__take(int signals)
{
	struct signalfd_siginfo info;
	return read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info);
}
