/* QEMU's process: started with a handful of descriptors, watched, and ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/qemu.h"

/* Between fork and exec, in a process that may have copied locks of other threads: system calls only. */
__attribute__((noreturn)) static void become(pid_t parent, const char *path, char *const argv[], const int *fds,
					     unsigned fd_count, int errors)
{
	static const char words[] = "it cannot be executed";
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent && dup2(errors, STDERR_FILENO) >= 0) {
		for (unsigned i = 0; i < fd_count; i++)
			fcntl(fds[i], F_SETFD, 0);
		execv(path, argv);
		ssize_t ignored = write(STDERR_FILENO, words, sizeof(words) - 1);
		(void)ignored;
	}
	_exit(127);
}

int qemu_process__start(struct qemu_process *process, const char *path, char *const argv[], const int *fds,
			unsigned fd_count, struct failure *why)
{
	int errors[2];
	*process = (struct qemu_process){.pidfd = -1, .errors = -1};
	if (access(path, X_OK) < 0)
		return failure__set(why, errno, "ENGINE_MISSING",
				    "QEMU is not at %s (%s); install it: sudo apt-get install qemu-system-x86", path,
				    failure__errno_name(errno));
	if (pipe2(errors, O_CLOEXEC) < 0)
		return failure__set(why, errno, NULL, "no pipe for QEMU");
	fcntl(errors[0], F_SETFL, O_NONBLOCK);
	pid_t parent = getpid(), pid = fork();
	if (pid == 0)
		become(parent, path, argv, fds, fd_count, errors[1]);
	int error = errno;
	close(errors[1]);
	if (pid < 0) {
		close(errors[0]);
		return failure__set(why, error, NULL, "no process for QEMU");
	}
	process->pid = pid;
	process->errors = errors[0];
	process->pidfd = pidfd_open(pid, 0);
	if (process->pidfd < 0) {
		error = errno;
		qemu_process__kill(process);
		return failure__set(why, error, NULL, "QEMU's process cannot be watched; Linux 5.3 or newer is needed");
	}
	return 0;
}

bool qemu_process__listen(struct qemu_process *process)
{
	char buf[QEMU_WORDS];
	ssize_t n;
	while ((n = read(process->errors, buf, sizeof(buf))) > 0) {
		size_t len = (size_t)n, over = 0;
		if (process->words_len + len > QEMU_WORDS)
			over = process->words_len + len - QEMU_WORDS;
		memmove(process->words, process->words + over, process->words_len - over);
		process->words_len -= over;
		memcpy(process->words + process->words_len, buf, len);
		process->words_len += len;
		process->words[process->words_len] = 0;
	}
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* The last line that says something, without the program's name before it. */
static const char *last_words(struct qemu_process *process)
{
	(void)qemu_process__listen(process);
	while (process->words_len && strchr("\n\r ", process->words[process->words_len - 1]))
		process->words[--process->words_len] = 0;
	const char *line = strrchr(process->words, '\n');
	line = line ? line + 1 : process->words;
	const char *colon = strncmp(line, "qemu", 4) == 0 ? strstr(line, ": ") : NULL;
	return colon ? colon + 2 : line;
}

static bool explain(struct qemu_process *process, int status, int *code, struct failure *why)
{
	const char *words = last_words(process);
	process->pid = 0;
	*code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (WIFSIGNALED(status))
		(void)!failure__set(why, EIO, "ENGINE_FAILED", "QEMU was ended by signal %d%s%s", WTERMSIG(status),
				    *words ? ": " : "", words);
	else
		(void)!failure__set(why, EIO, "ENGINE_FAILED", "QEMU ended with code %d%s%s", *code, *words ? ": " : "",
				    words);
	return true;
}

bool qemu_process__ended(struct qemu_process *process, int *code, struct failure *why)
{
	int status;
	return process->pid > 0 && waitpid(process->pid, &status, WNOHANG) == process->pid &&
	       explain(process, status, code, why);
}

void qemu_process__kill(struct qemu_process *process)
{
	if (process->pid > 0) {
		kill(process->pid, SIGKILL);
		while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
			;
		process->pid = 0;
	}
	if (process->pidfd >= 0)
		close(process->pidfd);
	if (process->errors >= 0)
		close(process->errors);
	process->pidfd = process->errors = -1;
}
