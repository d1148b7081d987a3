/* QEMU's process: started in a cage with a handful of descriptors, watched, and ended. */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/errno_name.h"
#include "engine/qemu/qemu.h"
#include "os/pass.h"
#include "os/process.h"
#include "os/socket.h"

#define PIPE_READS (65536 / QEMU_WORDS) /* what a pipe holds */

/* What the child has besides the arguments and the cage. */
struct handed {
	const int *fds;
	unsigned fd_count;
	int errors, word, parent; /* parent: a pidfd */
};

/* One message, with a descriptor if it has one. */
static void say_of_cage(void *arg, const struct confine_word *word)
{
	(void)pass__send(*(const int *)arg, word, sizeof(*word), word->connects, true);
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
	process__end_with_parent();
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
				    "QEMU is not at %s (%s); install it: sudo apt-get install %s", path,
				    errno_name(errno), qemu_arch__package);
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

/* All or none of the ends: of standard error, and of the socket for the word of the cage. */
static int make_ends(int errors[2], int word[2])
{
	int err = pipe__new(errors);
	if (err)
		return err;
	err = socket__pair(SOCK_SEQPACKET, true, word);
	if (err) {
		close(errors[0]);
		close(errors[1]);
		return err;
	}
	fcntl(errors[0], F_SETFL, O_NONBLOCK);
	return 0;
}

/* Of a child that ended before it said anything there is none, and its end will be told. */
static int hear_of_cage(struct qemu_process *process, int fd, struct confine_report *report, struct failure *why)
{
	struct confine_word word = {.error = 0};
	if (pass__receive(fd, &word, sizeof(word), &process->connects) != (ssize_t)sizeof(word))
		return 0;
	*report = word.report;
	if (word.error)
		*why = word.why;
	return word.error;
}

int qemu_process__start(struct qemu_process *process, const struct confine_request *cage, char *const argv[],
			const int *fds, unsigned fd_count, struct confine_report *report, struct failure *why)
{
	int errors[2] = {-1, -1}, word[2] = {-1, -1};
	struct confine_birth birth;
	*process = (struct qemu_process){.pidfd = -1, .errors = -1, .connects = -1};
	int err = check_program(cage->program->path, why);
	if (err)
		return err;
	err = make_ends(errors, word);
	if (err)
		return failure__set(why, -err, NULL, "no pipe for QEMU");
	const struct handed handed = {fds, fd_count, errors[1], word[1], process__open(getpid())};
	pid_t pid = handed.parent < 0 ? -1 : confine__fork(cage, &birth);
	if (pid == 0)
		become(cage, &birth, argv, &handed);
	err = handed.parent < 0 ? handed.parent : pid < 0 ? -errno : 0;
	if (handed.parent >= 0)
		close(handed.parent);
	close(errors[1]);
	close(word[1]);
	process->pid = pid < 0 ? 0 : pid;
	process->errors = errors[0];
	process->pidfd = pid < 0 ? -1 : process__open(pid);
	if (!err && process->pidfd < 0)
		err = process->pidfd;
	err = err ? failure__set(why, -err, NULL, "no process for QEMU (%s)%s", errno_name(-err),
				 err == -ENOSYS ? "; Linux 5.3 or newer is needed" : "")
		  : hear_of_cage(process, word[0], report, why);
	close(word[0]);
	if (err)
		qemu_process__kill(process);
	return err;
}

int qemu_process__connect(struct qemu_process *process, int fd)
{
	struct seccomp_notif call = {.id = 0};
	if (ioctl(process->connects, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0)
		return errno == EINTR || errno == ENOENT ? -EAGAIN : -errno;
	struct seccomp_notif_resp answer = {.id = call.id};
	struct seccomp_notif_addfd given = {.id = call.id,
					    .flags = SECCOMP_ADDFD_FLAG_SETFD,
					    .srcfd = (unsigned)fd,
					    .newfd = (unsigned)call.data.args[0],
					    .newfd_flags = O_CLOEXEC};
	if (fd < 0 || ioctl(process->connects, SECCOMP_IOCTL_NOTIF_ADDFD, &given) < 0)
		answer.error = -ECONNREFUSED;
	return ioctl(process->connects, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0 ? -errno : 0;
}

void qemu_process__connected(struct qemu_process *process)
{
	if (process->connects >= 0)
		close(process->connects);
	process->connects = -1;
}

bool qemu_process__listen(struct qemu_process *process)
{
	char buf[QEMU_WORDS];
	ssize_t n = 1;
	for (int i = 0; i < PIPE_READS && (n = read(process->errors, buf, sizeof(buf))) > 0; i++) {
		size_t len = (size_t)n, over = 0;
		if (process->words_len + len > QEMU_WORDS)
			over = process->words_len + len - QEMU_WORDS;
		memmove(process->words, process->words + over, process->words_len - over);
		process->words_len -= over;
		memcpy(process->words + process->words_len, buf, len);
		process->words_len += len;
		process->words[process->words_len] = 0;
	}
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
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
		if (process->pidfd >= 0)
			(void)process__signal(process->pidfd, SIGKILL);
		else /* where it did not come up: the VMM is not confined yet */
			kill(process->pid, SIGKILL);
		while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
			;
		process->pid = 0;
	}
	if (process->pidfd >= 0)
		close(process->pidfd);
	if (process->errors >= 0)
		close(process->errors);
	qemu_process__connected(process);
	process->pidfd = process->errors = -1;
}
