/* The event stream: one vsock connection to the host. */
#include "init/events.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/errno_name.h"
#include "common/utf8.h"

enum { CONGESTED = 512 * 1024, MESSAGE_SIZE = 1024 };

static void lose(struct events *events)
{
	events->lost = true;
	if (events->fd >= 0) {
		loop__del(events->loop, events->fd);
		close(events->fd);
	}
	events->fd = -1;
	buffer__free(&events->out);
}

static void ready(void *arg, int fd, unsigned what)
{
	struct events *events = arg;
	socklen_t size = sizeof(int);
	char byte;
	int err = 0;
	if (!events->connected) {
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) || err) {
			lose(events);
			return;
		}
		events->connected = true;
	} else if (what & LOOP_READ) {
		ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			lose(events);
			return;
		}
		if (n > 0)
			events->heard(events->arg, byte);
	}
	events__flush(events);
}

void events__connect(struct events *events, struct loop *loop, uint32_t port, void (*heard)(void *arg, char byte),
		     void *arg)
{
	struct sockaddr_vm host = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	*events = (struct events){.loop = loop, .fd = fd, .heard = heard, .arg = arg};
	if (fd < 0 || loop__add(loop, fd, LOOP_WRITE, ready, events)) {
		lose(events);
		return;
	}
	if (connect(fd, (struct sockaddr *)&host, sizeof(host)) == 0)
		events->connected = true;
	else if (errno != EINPROGRESS)
		lose(events);
}

bool events__congested(const struct events *events)
{
	return buffer__pending(&events->out) >= CONGESTED;
}

void events__flush(struct events *events)
{
	if (!events->connected || events->lost)
		return;
	int err = buffer__flush(&events->out, events->fd);
	if (err && err != -EAGAIN)
		lose(events);
	else
		(void)!loop__mod(events->loop, events->fd, err ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static struct writer begin(struct events *events, const char *ev)
{
	struct writer out = frame__begin(&events->out);
	writer__text(&out, "ev", ev);
	return out;
}

/* Queue and send it, unless there is no one to tell. */
static void end(struct events *events, struct writer *out)
{
	if (events->lost)
		buffer__free(&events->out);
	else if (frame__end(out) == 0)
		events__flush(events);
}

void events__ready(struct events *events, const struct boot_times *times)
{
	struct writer out = begin(events, "ready");
	writer__open(&out, "t");
	writer__uint(&out, "kernel", times->kernel);
	writer__uint(&out, "init", times->init);
	writer__uint(&out, "mounts", times->mounts);
	writer__uint(&out, "agent", times->agent);
	writer__close(&out);
	end(events, &out);
}

void events__main_started(struct events *events, pid_t pid)
{
	struct writer out = begin(events, "main-started");
	writer__uint(&out, "pid", (uint64_t)pid);
	end(events, &out);
}

void events__main_exit(struct events *events, int status)
{
	struct writer out = begin(events, "main-exit");
	if (WIFSIGNALED(status))
		writer__uint(&out, "signal", (uint64_t)WTERMSIG(status));
	else
		writer__uint(&out, "exitCode", (uint64_t)WEXITSTATUS(status));
	end(events, &out);
}

void events__oom(struct events *events, const struct oom_kill *kill)
{
	struct writer out = begin(events, "oom");
	writer__uint(&out, "pid", (uint64_t)kill->pid);
	writer__text(&out, "program", kill->program);
	writer__bool(&out, "limited", kill->limited);
	end(events, &out);
}

void events__expired(struct events *events, const char *why)
{
	struct writer out = begin(events, "expired");
	writer__text(&out, "why", why);
	end(events, &out);
}

void events__boot_failed(struct events *events, int err, const char *message)
{
	char text[MESSAGE_SIZE];
	strncpy(text, message, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	utf8__mend(text, strlen(text));
	struct writer out = begin(events, "boot-failed");
	writer__text(&out, "code", errno_name(err));
	writer__text(&out, "message", text);
	end(events, &out);
}

/* Let the stream's handler run until it has nothing more to send, or for good. */
static void step(struct events *events, uint64_t deadline)
{
	bool waits = !events->connected || buffer__pending(&events->out);
	struct pollfd polled = {.fd = events->fd, .events = waits ? POLLIN | POLLOUT : POLLIN};
	uint64_t now = monotonic_ns();
	if (now < deadline && poll(&polled, 1, (int)((deadline - now) / 1000000 + 1)) > 0)
		ready(events, events->fd, polled.revents & ~POLLOUT ? LOOP_READ | LOOP_WRITE : LOOP_WRITE);
}

void events__finish(struct events *events, uint64_t ms)
{
	uint64_t deadline = monotonic_ns() + ms * 1000000;
	while (!events->lost && buffer__pending(&events->out) && monotonic_ns() < deadline)
		step(events, deadline);
	if (events->lost || !events->connected)
		return;
	shutdown(events->fd, SHUT_WR);
	while (!events->lost && monotonic_ns() < deadline)
		step(events, deadline);
}
