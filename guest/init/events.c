/* The event stream: one vsock connection to the host. */
#include "init/events.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/errno_name.h"
#include "common/utf8.h"

enum { CONGESTED = 512 * 1024, FRAME_SIZE = 2048 };

static void lose(struct events *events)
{
	events->lost = true;
	watch__remove(&events->watch);
	if (events->watch.fd >= 0)
		close(events->watch.fd);
	events->watch.fd = -1;
	buffer__free(&events->out);
}

static void ready(struct watch *watch, short revents)
{
	struct events *events = container_of(watch, struct events, watch);
	socklen_t size = sizeof(int);
	char byte;
	int error = 0;

	if (!events->connected) {
		if (getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &error, &size) || error) {
			lose(events);
			return;
		}
		events->connected = true;
	} else if (revents & (POLLIN | POLLHUP | POLLERR)) {
		/* the host says nothing here: only its end can be read */
		ssize_t n = recv(watch->fd, &byte, 1, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			lose(events);
			return;
		}
	}
	events__flush(events);
}

void events__connect(struct events *events, struct loop *loop, uint32_t port)
{
	struct sockaddr_vm host = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*events = (struct events){.watch = {.fd = fd, .events = POLLOUT, .ready = ready}};
	if (fd < 0) {
		events->lost = true;
		return;
	}
	loop__add(loop, &events->watch);
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
	int error;

	if (!events->connected || events->lost)
		return;
	error = buffer__flush(&events->out, events->watch.fd);
	if (error && error != -EAGAIN)
		lose(events);
	else
		events->watch.events = error ? POLLIN | POLLOUT : POLLIN;
}

/* Begin { ev, … } with `pairs` more pairs. Returns false when there is no one to tell. */
static bool begin(struct events *events, struct frame *frame, const char *ev, uint64_t pairs)
{
	if (events->lost || frame__begin(frame, &events->out, FRAME_SIZE) < 0)
		return false;
	writer__map(&frame->writer, 1 + pairs);
	writer__text(&frame->writer, "ev");
	writer__text(&frame->writer, ev);
	return true;
}

static void end(struct events *events, struct frame *frame)
{
	if (frame__end(frame) == 0)
		events__flush(events);
}

void events__ready(struct events *events, const struct boot_times *times)
{
	const struct {
		const char *name;
		uint64_t value;
	} list[] = {
		{"kernel", times->kernel}, {"init", times->init}, {"mounts", times->mounts}, {"agent", times->agent}};
	struct frame frame;

	if (!begin(events, &frame, "ready", 1))
		return;
	writer__text(&frame.writer, "t");
	writer__map(&frame.writer, sizeof(list) / sizeof(*list));
	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++) {
		writer__text(&frame.writer, list[i].name);
		writer__uint(&frame.writer, list[i].value);
	}
	end(events, &frame);
}

void events__main_started(struct events *events, pid_t pid)
{
	struct frame frame;

	if (!begin(events, &frame, "main-started", 1))
		return;
	writer__text(&frame.writer, "pid");
	writer__uint(&frame.writer, (uint64_t)pid);
	end(events, &frame);
}

void events__main_exit(struct events *events, int status)
{
	struct frame frame;

	if (!begin(events, &frame, "main-exit", 1))
		return;
	if (WIFSIGNALED(status)) {
		writer__text(&frame.writer, "signal");
		writer__uint(&frame.writer, (uint64_t)WTERMSIG(status));
	} else {
		writer__text(&frame.writer, "exitCode");
		writer__uint(&frame.writer, (uint64_t)WEXITSTATUS(status));
	}
	end(events, &frame);
}

void events__oom(struct events *events, const struct oom_kill *kill)
{
	struct frame frame;

	if (!begin(events, &frame, "oom", 3))
		return;
	writer__text(&frame.writer, "pid");
	writer__uint(&frame.writer, (uint64_t)kill->pid);
	writer__text(&frame.writer, "program");
	writer__text(&frame.writer, kill->program);
	writer__text(&frame.writer, "limited");
	writer__bool(&frame.writer, kill->limited);
	end(events, &frame);
}

void events__expired(struct events *events, const char *why)
{
	struct frame frame;

	if (!begin(events, &frame, "expired", 1))
		return;
	writer__text(&frame.writer, "why");
	writer__text(&frame.writer, why);
	end(events, &frame);
}

void events__boot_failed(struct events *events, int error, const char *message)
{
	char text[FRAME_SIZE / 2];
	struct frame frame;

	if (!begin(events, &frame, "boot-failed", 2))
		return;
	strncpy(text, message, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	utf8__mend(text, strlen(text));
	writer__text(&frame.writer, "code");
	writer__text(&frame.writer, errno_name(error));
	writer__text(&frame.writer, "message");
	writer__text(&frame.writer, text);
	end(events, &frame);
}

/* Let the stream's handler run until it has nothing more to send, or for good. */
static void step(struct events *events, uint64_t deadline)
{
	uint64_t now = monotonic_ns();
	struct pollfd polled = {.fd = events->watch.fd, .events = events->watch.events};

	if (now < deadline && poll(&polled, 1, (int)((deadline - now) / 1000000 + 1)) > 0)
		ready(&events->watch, polled.revents);
}

void events__finish(struct events *events, uint64_t ms)
{
	uint64_t deadline = monotonic_ns() + ms * 1000000;

	while (!events->lost && buffer__pending(&events->out) && monotonic_ns() < deadline)
		step(events, deadline);
	if (events->lost || !events->connected)
		return;
	shutdown(events->watch.fd, SHUT_WR);
	while (!events->lost && monotonic_ns() < deadline)
		step(events, deadline);
}
