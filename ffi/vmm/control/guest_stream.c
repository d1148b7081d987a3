/* A stream of the guest's: one connection to a vsock port of the host, taken by the VMM itself. */
#include "vmm/control/guest_stream.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/socket.h"

#define CHUNK 65536

struct guest_stream {
	struct loop *loop;
	guest_stream_fn fn;
	void *arg;
	int listener; /* -1 once the guest has connected */
	int fd;       /* -1 until it has, and again at the end of the stream */
	bool paused;
	struct sockaddr_un addr;
	char buf[CHUNK];
};

/* One read: the bytes taken, 0 when there is nothing now or no stream. */
static size_t take(struct guest_stream *stream)
{
	ssize_t n = recv(stream->fd, stream->buf, sizeof(stream->buf), MSG_DONTWAIT);
	if (n > 0) {
		stream->fn(stream->arg, stream->buf, (size_t)n);
		return (size_t)n;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		loop__del(stream->loop, stream->fd);
		close(stream->fd);
		stream->fd = -1;
	}
	return 0;
}

static void stream__ready(void *arg, int fd, unsigned ready)
{
	(void)fd;
	(void)ready;
	take(arg);
}

static void listener__close(struct guest_stream *stream)
{
	if (stream->listener < 0)
		return;
	loop__del(stream->loop, stream->listener);
	close(stream->listener);
	unlink(stream->addr.sun_path);
	stream->listener = -1;
}

static void listener__ready(void *arg, int fd, unsigned ready)
{
	struct guest_stream *stream = arg;
	(void)ready;
	int client = socket__accept(fd, false);
	if (client < 0)
		return;
	listener__close(stream);
	stream->fd = client;
	if (!stream->paused && loop__add(stream->loop, client, LOOP_READ, stream__ready, stream) < 0) {
		close(client);
		stream->fd = -1;
	}
}

int guest_stream__new(struct loop *loop, const char *dir, uint32_t port, guest_stream_fn fn, void *arg,
		      struct guest_stream **out)
{
	struct guest_stream *stream = calloc(1, sizeof(*stream));
	if (!stream)
		return -ENOMEM;
	stream->loop = loop;
	stream->fn = fn;
	stream->arg = arg;
	stream->fd = stream->listener = -1;
	stream->addr.sun_family = AF_UNIX;
	int err = 0;
	if (snprintf(stream->addr.sun_path, sizeof(stream->addr.sun_path), "%s/host-%u.sock", dir, port) >=
	    (int)sizeof(stream->addr.sun_path))
		err = -ENAMETOOLONG;
	int fd = err ? err : socket__new(AF_UNIX, SOCK_STREAM, 0, false);
	if (fd < 0)
		err = fd;
	else if (bind(fd, (struct sockaddr *)&stream->addr, sizeof(stream->addr)) < 0 || listen(fd, 1))
		err = -errno;
	if (!err)
		err = loop__add(loop, fd, LOOP_READ, listener__ready, stream);
	if (err) {
		if (fd >= 0)
			close(fd);
		free(stream);
		return err;
	}
	stream->listener = fd;
	*out = stream;
	return 0;
}

void guest_stream__free(struct guest_stream *stream)
{
	if (!stream)
		return;
	listener__close(stream);
	if (stream->fd >= 0) {
		loop__del(stream->loop, stream->fd);
		close(stream->fd);
	}
	free(stream);
}

void guest_stream__pause(struct guest_stream *stream)
{
	stream->paused = true;
	if (stream->fd >= 0)
		loop__del(stream->loop, stream->fd); /* parked it would still tell of a hang-up, over and over */
}

void guest_stream__resume(struct guest_stream *stream)
{
	if (!stream->paused)
		return;
	stream->paused = false;
	if (stream->fd >= 0 && loop__add(stream->loop, stream->fd, LOOP_READ, stream__ready, stream) < 0) {
		close(stream->fd);
		stream->fd = -1;
	}
}

size_t guest_stream__drain(struct guest_stream *stream)
{
	size_t taken = 0, n = 1;
	if (stream->listener >= 0)
		listener__ready(stream, stream->listener, LOOP_READ);
	while (n && stream->fd >= 0 && !stream->paused)
		taken += n = take(stream);
	return taken;
}

void guest_stream__say(struct guest_stream *stream, const void *data, size_t len)
{
	if (stream->fd >= 0)
		(void)!send(stream->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}
