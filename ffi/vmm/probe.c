/* Confinement tried out in children, for `capsa doctor`. */
#include "vmm/probe.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine/confine.h"
#include "os/process.h"
#include "vmm/keeper/hold.h"

#define SYSTEMD_MS 1500

static void print(const char *process, const struct confine_report *report)
{
	char text[2048];
	int len = 0;
	for (unsigned i = 0; i < CONFINE_LAYERS && report->layers[i].name; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%s\t%s\t%d\t%s\n", process,
				report->layers[i].name, report->layers[i].applied, report->layers[i].detail);
	ssize_t ignored = write(STDOUT_FILENO, text, (size_t)len); /* stdio's buffer is lost where a child ends */
	(void)ignored;
}

static void told(void *arg, const struct confine_word *word)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	(void)arg;
	print("qemu", &word->report);
	if (null >= 0) /* where there is none any more its version goes to standard output: a line of another form */
		dup2(null, STDOUT_FILENO);
}

static int end_of(pid_t pid)
{
	int status = 0;
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}

static int try_vmm(const char *directory)
{
	const struct confine_request request = {.mode = CONFINE_AUTO, .runtime_dir = directory};
	pid_t pid = fork();
	if (pid == 0) {
		struct confine_report report;
		struct failure why;
		(void)!confine__apply(&request, &report, &why);
		print("capsa-vmm", &report);
		_exit(0);
	}
	return end_of(pid);
}

static int try_qemu(const char *directory, const char *qemu)
{
	char path[PATH_MAX], version[] = "--version", *argv[] = {path, version, NULL};
	const struct confine_program program = {.path = path};
	const struct confine_request request = {.mode = CONFINE_AUTO, .program = &program, .runtime_dir = directory};
	struct confine_birth birth;
	if (!realpath(qemu, path))
		return 125;
	pid_t pid = confine__fork(&request, &birth);
	if (pid == 0) {
		(void)confine__become(&request, &birth, argv, told, NULL);
		_exit(125);
	}
	return end_of(pid);
}

/* As the keeper of a sandbox does it, with a child that does nothing. */
static void try_hold(void)
{
	const struct cgroup_limits limits = {.memory = 64U << 20, .swap = 0, .processes = 16};
	struct hold hold;
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		process__end_with_parent();
		for (;;)
			pause();
	}
	if (pid < 0)
		return;
	hold__init(&hold, &limits, getpid());
	hold__take(&hold, pid, 0);
	for (struct pollfd look = hold__poll(&hold); !hold.held && look.fd >= 0 && poll(&look, 1, SYSTEMD_MS) == 1;
	     look = hold__poll(&hold))
		hold__look(&hold);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	hold__end(&hold);
	dprintf(STDOUT_FILENO, "cgroup\tmemory\t%d\t%s\n", hold.held, hold.held ? hold.group.path : hold.why);
}

int probe__confinement(const char *qemu)
{
	char directory[] = "/tmp/capsa-probe.XXXXXX";
	if (!mkdtemp(directory)) {
		perror("capsa-vmm: /tmp");
		return 125;
	}
	int code = try_vmm(directory);
	if (qemu)
		dprintf(STDOUT_FILENO, "qemu\texit\t%d\t\n", try_qemu(directory, qemu));
	rmdir(directory);
	try_hold();
	return code;
}
