/* libcapsa's entry points for starting and collecting a VMM process. */
#include "capsa.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/memory_file.h"
#include "os/process.h"
#include "os/socket.h"
#include "vmm/build/handover.h"

#define MAX_CONFIG (1U << 20)

uint32_t capsa_abi_version(void)
{
	return CAPSA_ABI_VERSION;
}

/* A descriptor above those the child gets, so that placing one never runs over another. */
static int above(int fd)
{
	if (fd < 0)
		return fd;
	int high = fcntl(fd, F_DUPFD_CLOEXEC, HANDOVER_FDS);
	int err = high < 0 ? -errno : 0;
	close(fd);
	return err ? err : high;
}

static int config_memfd(const uint8_t *config, size_t len)
{
	int fd = above(memory_file__new("capsa-config"));
	if (fd < 0)
		return fd;
	size_t done = 0;
	while (done < len) {
		ssize_t n = pwrite(fd, config + done, len - done, (off_t)done);
		if (n < 0 && errno != EINTR) {
			int err = -errno;
			close(fd);
			return err;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	return fd;
}

int32_t capsa_listen(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	if (!path || strlen(path) >= sizeof(at.sun_path))
		return -EINVAL;
	memcpy(at.sun_path, path, strlen(path));
	int fd = socket__new(AF_UNIX, SOCK_SEQPACKET, 0, false);
	if (fd < 0)
		return fd;
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	int err = -errno;
	close(fd);
	return err;
}

/* Each at its place. `high` is where they are first brought: a place may be another's number. */
static int add_listeners(posix_spawn_file_actions_t *actions, const int *high, uint32_t count)
{
	int err = 0;
	for (uint32_t i = 0; !err && i < count; i++)
		err = posix_spawn_file_actions_adddup2(actions, high[i], HANDOVER_LISTENERS + (int)i);
	return err;
}

/* posix_spawn rather than fork: the caller has threads, and a heap that need not be copied. */
static int spawn(const char *vmm, int control, int config, const int *listeners, uint32_t count, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int err = posix_spawn_file_actions_init(&actions);
	if (err)
		return -err;
	err = posix_spawnattr_init(&attr);
	if (err) {
		posix_spawn_file_actions_destroy(&actions);
		return -err;
	}
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	/* a session of its own: a terminal's Ctrl-C is for the caller to act on */
	short flags = POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	char name[] = "capsa-vmm", *argv[] = {name, NULL};
	char *nothing[] = {NULL}; /* the caller's environment may hold secrets, and a VMM needs none of it */
	if ((err = posix_spawnattr_setflags(&attr, flags)) == 0 &&
	    (err = posix_spawnattr_setsigmask(&attr, &none)) == 0 &&
	    (err = posix_spawnattr_setsigdefault(&attr, &all)) == 0 &&
	    (err = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)) == 0 &&
	    (err = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)) == 0 &&
	    (err = posix_spawn_file_actions_adddup2(&actions, control, HANDOVER_CONTROL)) == 0 &&
	    (err = posix_spawn_file_actions_adddup2(&actions, config, HANDOVER_CONFIG)) == 0 &&
	    (err = add_listeners(&actions, listeners, count)) == 0 &&
	    (err = posix_spawn_file_actions_addclosefrom_np(&actions, HANDOVER_LISTENERS + (int)count)) == 0)
		err = posix_spawn(pid, vmm, &actions, &attr, argv, nothing);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

static int start(const char *vmm, const uint8_t *config, size_t config_len, const int *listeners, uint32_t count,
		 struct capsa_vmm *out)
{
	if (!vmm || !config || !config_len || !out)
		return -EINVAL;
	if (config_len > MAX_CONFIG)
		return -E2BIG;
	int pair[2];
	int err = socket__pair(SOCK_STREAM, false, pair);
	if (err)
		return err;
	int memfd = config_memfd(config, config_len);
	int theirs = above(pair[1]);
	err = memfd < 0 ? memfd : theirs < 0 ? theirs : 0;
	pid_t pid = -1;
	if (!err)
		err = spawn(vmm, theirs, memfd, listeners, count, &pid);
	if (memfd >= 0)
		close(memfd);
	if (theirs >= 0)
		close(theirs);
	if (err) {
		close(pair[0]);
		return err;
	}
	*out = (struct capsa_vmm){.pid = pid, .control = pair[0]};
	return 0;
}

int32_t capsa_start_joined(const char *vmm, const uint8_t *config, size_t config_len, const int32_t *listeners,
			   uint32_t count, struct capsa_vmm *out)
{
	int high[HANDOVER_FDS - HANDOVER_LISTENERS];
	if (count > sizeof(high) / sizeof(high[0]) || (count && !listeners))
		return -EINVAL;
	int err = 0;
	for (uint32_t i = 0; i < count; i++) {
		high[i] = above(listeners[i]);
		err = high[i] < 0 && !err ? high[i] : err;
	}
	if (!err)
		err = start(vmm, config, config_len, high, count, out);
	for (uint32_t i = 0; i < count; i++)
		if (high[i] >= 0)
			close(high[i]);
	return err;
}

int32_t capsa_reap(int32_t pid, int32_t *status)
{
	if (pid <= 0 || !status)
		return -EINVAL;
	int wstatus = 0;
	pid_t got = waitpid(pid, &wstatus, WNOHANG);
	if (got < 0)
		return -errno;
	if (got == 0)
		return 0;
	*status = wstatus;
	return 1;
}

int32_t capsa_signal(int32_t pid, uint64_t start, int32_t signal)
{
	if (pid <= 0)
		return -EINVAL;
	int fd = process__open(pid);
	if (fd < 0)
		return fd;
	/* looked at once it is held: a number that is given again from now on is not this process */
	int err = process__started(pid) != start ? -ESRCH : process__signal(fd, signal);
	close(fd);
	return err;
}
