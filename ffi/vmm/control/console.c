/* The host's end of the guest's console: output to a handler, input from requests. */
#include "vmm/control/console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/socket.h"

#define CHUNK 16384
#define MAX_INPUT 65536

struct console {
	struct loop *loop;
	console_fn fn;
	void *arg;
	int fd; /* -1 once the machine's end is closed */
	size_t waiting;
	char input[MAX_INPUT];
};

static void hang_up(struct console *console)
{
	if (console->fd < 0)
		return;
	loop__del(console->loop, console->fd);
	close(console->fd);
	console->fd = -1;
}

static void flush(struct console *console)
{
	ssize_t n = send(console->fd, console->input, console->waiting, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		hang_up(console);
		return;
	}
	if (n > 0) {
		console->waiting -= (size_t)n;
		memmove(console->input, console->input + n, console->waiting);
	}
	if (loop__mod(console->loop, console->fd, LOOP_READ | (console->waiting ? LOOP_WRITE : 0)) < 0)
		hang_up(console);
}

/* The bytes taken, 0 when there are none now. */
static size_t take(struct console *console)
{
	char buf[CHUNK];
	ssize_t n = recv(console->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n > 0)
		console->fn(console->arg, buf, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		hang_up(console);
	return n > 0 ? (size_t)n : 0;
}

static void ready(void *arg, int fd, unsigned events)
{
	struct console *console = arg;
	(void)fd;
	if (events & LOOP_READ)
		take(console);
	if (console->fd >= 0 && console->waiting)
		flush(console);
}

int console__new(struct loop *loop, console_fn fn, void *arg, struct console **out, int *far)
{
	int pair[2];
	struct console *console = calloc(1, sizeof(*console));
	if (!console)
		return -ENOMEM;
	*console = (struct console){.loop = loop, .fn = fn, .arg = arg};
	int err = socket__pair(SOCK_STREAM, false, pair);
	if (!err) {
		err = loop__add(loop, pair[0], LOOP_READ, ready, console);
		if (err) {
			close(pair[0]);
			close(pair[1]);
		}
	}
	if (err) {
		free(console);
		return err;
	}
	console->fd = pair[0];
	*far = pair[1];
	*out = console;
	return 0;
}

void console__free(struct console *console)
{
	if (!console)
		return;
	hang_up(console);
	free(console);
}

int console__write(struct console *console, const void *data, size_t len)
{
	if (console->fd < 0)
		return -EPIPE;
	if (len > MAX_INPUT - console->waiting)
		return -EAGAIN;
	memcpy(console->input + console->waiting, data, len);
	console->waiting += len;
	flush(console);
	return console->fd < 0 ? -EPIPE : 0;
}

void console__drain(struct console *console)
{
	while (console->fd >= 0 && take(console))
		;
}
