/* /init of a sandbox: process 1 is init; `--socket PATH` serves the agent alone on a Unix socket, for tests on a host.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/agent.h"
#include "init/init.h"

extern char **environ;

static int serve(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct strings environment = {0};
	static const uint64_t by_default[4]; /* the kernel's struct sigaction: SIG_DFL is 0 */
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (strlen(path) >= sizeof(address.sun_path)) {
		fprintf(stderr, "capsa-agent: %s: too long for a socket's path\n", path);
		return 2;
	}
	strcpy(address.sun_path, path); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): measured above
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listener, SOMAXCONN)) {
		perror(path);
		return 1;
	}
	for (char **pair = environ; *pair; pair++)
		if (strings__add_text(&environment, *pair) < 0)
			return 1;
	/* as process 1 has them: a signal that whoever started this ignores, every program would ignore. The raw call:
	 * libc's leaves out the signals that it uses itself */
	for (int number = 1; number < NSIG; number++)
		syscall(SYS_rt_sigaction, number, by_default, NULL, sizeof(uint64_t));
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, AGENT_BEGIN);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	int code = agent__run(listener, -1, &environment, (struct idleness){.ms = 0});
	strings__free(&environment);
	unlink(path);
	return code;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--socket") == 0)
		return serve(argv[2]);
	if (getpid() == 1)
		init__run();
	fprintf(stderr, "usage: %s --socket PATH\n(else this is process 1 of a sandbox)\n", argv[0]);
	return 2;
}
