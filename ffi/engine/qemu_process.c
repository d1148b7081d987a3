/* QEMU's process: started in a cage with a handful of descriptors, watched, and ended. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/qemu.h"

/* What the child says of its cage before it becomes QEMU. */
struct cage_word {
	int error;
	struct confine_report report;
	struct failure why;
};

/* What the child has besides the arguments and the cage. */
struct handed {
	const int *fds;
	unsigned fd_count;
	int errors, word, parent; /* pidfd */
};

static void say_of_cage(void *arg, const struct confine_report *report, int error, const struct failure *why)
{
	const struct cage_word word = {.error = error, .report = *report, .why = *why};
	ssize_t ignored = write(*(const int *)arg, &word, sizeof(word)); /* a pipe, and less than it takes at once */
	(void)ignored;
}

/* In the child. The parent is the only thread of its process: no lock is another's. */
__attribute__((noreturn)) static void become(const struct confine_request *cage, const struct confine_birth *birth,
					     char *const argv[], const struct handed *handed)
{
	static const char words[] = "it cannot be executed";
	struct pollfd parent = {.fd = handed->parent, .events = POLLIN};
	int word = handed->word;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (poll(&parent, 1, 0) == 0 && dup2(handed->errors, STDERR_FILENO) >= 0) {
		for (unsigned i = 0; i < handed->fd_count; i++)
			fcntl(handed->fds[i], F_SETFD, 0);
		(void)confine__become(cage, birth, argv, say_of_cage, &word);
		ssize_t ignored = write(STDERR_FILENO, words, sizeof(words) - 1);
		(void)ignored;
	}
	_exit(127);
}

static int check_program(const char *path, struct failure *why)
{
	char first[2] = {0};
	int fd = access(path, X_OK) < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return failure__set(why, errno, "ENGINE_MISSING",
				    "QEMU is not at %s (%s); install it: sudo apt-get install qemu-system-x86", path,
				    failure__errno_name(errno));
	ssize_t n = read(fd, first, sizeof(first));
	close(fd);
	if (n == sizeof(first) && memcmp(first, "#!", 2) == 0)
		return failure__set(
			why, ENOEXEC, "ENGINE_MISSING",
			"QEMU at %s is a script, and QEMU is confined without a shell: set CAPSA_QEMU to the "
			"program that the script starts",
			path);
	return 0;
}

/* All or none of the ends: of standard error, and of the pipe for the word of the cage. */
static int make_pipes(int errors[2], int word[2])
{
	if (pipe2(errors, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(word, O_CLOEXEC) < 0) {
		int err = -errno;
		close(errors[0]);
		close(errors[1]);
		return err;
	}
	fcntl(errors[0], F_SETFL, O_NONBLOCK);
	return 0;
}

int qemu_process__start(struct qemu_process *process, const struct confine_request *cage, char *const argv[],
			const int *fds, unsigned fd_count, struct failure *why)
{
	int errors[2], word[2];
	struct confine_birth birth;
	*process = (struct qemu_process){.pidfd = -1, .errors = -1, .word = -1};
	int err = check_program(cage->program->path, why);
	if (err)
		return err;
	err = make_pipes(errors, word);
	if (err)
		return failure__set(why, -err, NULL, "no pipe for QEMU");
	const struct handed handed = {fds, fd_count, errors[1], word[1], pidfd_open(getpid(), 0)};
	pid_t pid = handed.parent < 0 ? -1 : confine__fork(cage, &birth);
	if (pid == 0)
		become(cage, &birth, argv, &handed);
	int error = errno;
	if (handed.parent >= 0)
		close(handed.parent);
	close(errors[1]);
	close(word[1]);
	process->pid = pid < 0 ? 0 : pid;
	process->errors = errors[0];
	process->word = word[0];
	process->pidfd = pid < 0 ? -1 : pidfd_open(pid, 0);
	if (process->pidfd >= 0)
		return 0;
	error = pid < 0 ? error : errno;
	qemu_process__kill(process);
	return failure__set(why, error, NULL, "no process for QEMU (%s); Linux 5.3 or newer is needed",
			    failure__errno_name(error));
}

int qemu_process__cage(struct qemu_process *process, struct confine_report *report, struct failure *why)
{
	struct cage_word word = {.error = 0};
	ssize_t n;
	do
		n = read(process->word, &word, sizeof(word));
	while (n < 0 && errno == EINTR);
	close(process->word);
	process->word = -1;
	if (n != (ssize_t)sizeof(word)) /* it has ended before, and its end will be told */
		return 0;
	*report = word.report;
	if (word.error)
		*why = word.why;
	return word.error;
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
	if (process->word >= 0)
		close(process->word);
	process->pidfd = process->errors = process->word = -1;
}
