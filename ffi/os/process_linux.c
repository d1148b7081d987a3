/* Processes by pidfd, signalfd and prctl. */
#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

uint64_t process__started(pid_t pid)
{
	char path[32], text[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (len <= 0)
		return 0;
	text[len] = 0;
	const char *at = strrchr(text, ')'); /* of its name, which is field 2 and may hold anything */
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
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

int told_signals__open(void)
{
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, PROCESS_BEGIN);
	int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

struct told told_signals__take(int signals)
{
	struct signalfd_siginfo info;
	struct told told = {.end = false};
	while (read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == PROCESS_BEGIN)
			told.begin = true;
		else
			told.end = true;
	}
	return told;
}
