/* vsock, one stream: its host socket, the bytes that wait for it, and how both sides end it. */
#include "virtio/vsock/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TELL_AFTER (VSOCK_WINDOW / 4) /* bytes taken until the guest is told of its new room */

static void on_ready(void *arg, int fd, unsigned ready);

/* The table */

static unsigned bucket_of(const struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	uint64_t h = (((uint64_t)guest_port << 32) | host_port) ^ v->seed;
	h *= 0x9e3779b97f4a7c15U; /* 2^64 over the golden ratio: spreads the bits upwards */
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15U;
	return (unsigned)(h >> 54) % VSOCK_BUCKETS;
}

struct vsock_stream *vsock_stream__find(const struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_stream *s;
	LIST_FOREACH(s, &v->table[bucket_of(v, guest_port, host_port)], bucket)
	if (s->guest_port == guest_port && s->host_port == host_port)
		return s;
	return NULL;
}

int vsock_stream__new(struct vsock *v, uint32_t guest_port, uint32_t host_port, int fd, enum vsock_state state,
		      struct vsock_stream **out)
{
	struct vsock_stream *s = v->stream_count < VSOCK_MAX_STREAMS ? calloc(1, sizeof(*s)) : NULL;
	int err = -EMFILE;
	if (!s) {
		if (v->stream_count < VSOCK_MAX_STREAMS)
			err = -ENOMEM;
		close(fd);
		return err;
	}
	*s = (struct vsock_stream){
		.vsock = v, .state = state, .guest_port = guest_port, .host_port = host_port, .fd = fd};
	err = loop__add(v->dev.loop, fd, 0, on_ready, s);
	if (err) {
		close(fd);
		free(s);
		return err;
	}
	s->in_loop = true;
	v->stream_count++;
	TAILQ_INSERT_TAIL(&v->streams, s, all);
	LIST_INSERT_HEAD(&v->table[bucket_of(v, guest_port, host_port)], s, bucket);
	*out = s;
	return 0;
}

/* The host socket */

static void leave_loop(struct vsock_stream *s)
{
	if (s->in_loop)
		loop__del(s->vsock->dev.loop, s->fd);
	s->in_loop = false;
	s->armed = 0;
}

/* Unread bytes would turn the end of file that the peer is to see into a connection reset: read them away. */
static void discard_unread(int fd)
{
	uint8_t bytes[16384];
	shutdown(fd, SHUT_RD);
	for (int i = 0; i < 64 && recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0; i++)
		continue;
}

static void close_socket(struct vsock_stream *s)
{
	if (s->fd < 0)
		return;
	leave_loop(s);
	if (!s->host_deaf)
		discard_unread(s->fd);
	close(s->fd);
	s->fd = -1;
}

/* A socket whose peer is gone is always ready: it is in the loop only while something can be done about that. */
void vsock_stream__arm(struct vsock_stream *s)
{
	if (s->fd < 0)
		return;
	unsigned want = s->spill.len ? LOOP_WRITE : 0;
	if (s->state == VSOCK_OPEN && !s->host_silent && !s->waiting && vsock_stream__credit(s))
		want |= LOOP_READ;
	if (!want && s->host_deaf) {
		leave_loop(s);
	} else if (!s->in_loop) {
		if (loop__add(s->vsock->dev.loop, s->fd, want, on_ready, s) == 0) {
			s->in_loop = true;
			s->armed = want;
		}
	} else if (want != s->armed && loop__mod(s->vsock->dev.loop, s->fd, want) == 0) {
		s->armed = want;
	}
}

uint32_t vsock_stream__credit(const struct vsock_stream *s)
{
	uint32_t under_way = s->sent - s->peer_taken;
	return under_way < s->peer_window ? s->peer_window - under_way : 0;
}

/* Whether the socket's peer has closed it, and not just its writing half. */
static bool hung_up(const struct vsock_stream *s)
{
	struct pollfd p = {.fd = s->fd};
	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

/* Bytes from the guest */

static void took(struct vsock_stream *s, size_t len)
{
	s->taken += (uint32_t)len;
	if (s->state == VSOCK_OPEN && s->taken - s->taken_told >= TELL_AFTER)
		vsock_rx__send(s, VSOCK_SEND_CREDIT);
}

static void close_spill(struct vsock_stream *s)
{
	if (!s->spill.data)
		return;
	s->vsock->spill_bytes -= s->spill.size;
	ring__close(&s->spill);
}

static void say_shutdown(struct vsock_stream *s, unsigned flags)
{
	if (s->state != VSOCK_OPEN || (s->our_shut & flags) == flags)
		return;
	s->our_shut |= flags;
	vsock_rx__send(s, VSOCK_SEND_SHUTDOWN);
}

/* The socket's peer takes nothing more: forget what waits for it, and tell the guest. */
static void host_deaf(struct vsock_stream *s)
{
	size_t lost = s->spill.len;
	close_spill(s);
	s->host_deaf = true;
	took(s, lost);
	say_shutdown(s, VSOCK_NO_RECEIVE);
}

/* Send to the socket; the bytes it took, 0 when it takes none now, all of `len` when it never will. */
static size_t send_to_host(struct vsock_stream *s, struct iovec *iov, unsigned count, size_t len)
{
	if (s->host_deaf)
		return len;
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
	ssize_t n = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0)
		return (size_t)n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	host_deaf(s);
	return len;
}

/* Keep what the socket did not take, from byte `skip` on; false when there is no memory for it. */
static bool spill(struct vsock_stream *s, const struct iovec *iov, unsigned count, size_t skip)
{
	struct vsock *v = s->vsock;
	if (!s->spill.data) {
		if (v->spill_bytes + VSOCK_WINDOW > VSOCK_SPILL_MAX || ring__open(&s->spill, VSOCK_WINDOW))
			return false;
		v->spill_bytes += VSOCK_WINDOW;
	}
	for (unsigned i = 0; i < count; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		ring__put(&s->spill, (const uint8_t *)iov[i].iov_base + skip, iov[i].iov_len - skip);
		skip = 0;
	}
	return true;
}

/* After a change: pass on an end that is due, and end the stream when both sides have. False when it is gone. */
static bool settle(struct vsock_stream *s)
{
	if (!s->spill.len) {
		if (s->state == VSOCK_LINGERING) {
			vsock_stream__free(s);
			return false;
		}
		if (s->guest_shut == VSOCK_NEITHER) {
			vsock_stream__reset(s);
			return false;
		}
		if ((s->guest_shut & VSOCK_NO_SEND) && !s->shut_write && s->fd >= 0) {
			s->shut_write = true;
			shutdown(s->fd, SHUT_WR);
		}
	}
	if (s->host_silent && s->host_deaf)
		close_socket(s);
	vsock_stream__arm(s);
	return true;
}

void vsock_stream__deliver(struct vsock_stream *s, struct iovec *iov, unsigned count, size_t len)
{
	/* more than its window, or after its end */
	if (s->state != VSOCK_OPEN || len > VSOCK_WINDOW - s->spill.len || (s->guest_shut & VSOCK_NO_SEND)) {
		vsock_stream__reset(s);
		return;
	}
	if (!len)
		return;
	size_t done = s->spill.len ? 0 : send_to_host(s, iov, count, len);
	if (done < len && !spill(s, iov, count, done)) {
		vsock_stream__reset(s);
		return;
	}
	took(s, done);
	settle(s);
}

/* The socket has room again. False when the stream is gone. */
static bool flush(struct vsock_stream *s)
{
	struct iovec iov[2];
	unsigned count = ring__peek(&s->spill, iov);
	if (count) {
		size_t done = send_to_host(s, iov, count, s->spill.len);
		if (!s->host_deaf) {
			ring__drop(&s->spill, done);
			if (!s->spill.len)
				close_spill(s);
			took(s, done);
		}
	}
	return settle(s);
}

/* Ends */

void vsock_stream__guest_shutdown(struct vsock_stream *s, unsigned flags)
{
	if (s->state != VSOCK_OPEN) {
		vsock_stream__reset(s);
		return;
	}
	s->guest_shut |= flags & VSOCK_NEITHER;
	if ((s->guest_shut & VSOCK_NO_RECEIVE) && !s->host_silent) {
		s->host_silent = true;
		if (s->fd >= 0)
			shutdown(s->fd, SHUT_RD);
	}
	settle(s);
}

void vsock_stream__guest_gone(struct vsock_stream *s)
{
	LIST_REMOVE(s, bucket);
	if (s->send)
		TAILQ_REMOVE(&s->vsock->control, s, control);
	s->send = 0;
	s->state = VSOCK_LINGERING;
	settle(s);
}

void vsock_stream__host_silent(struct vsock_stream *s)
{
	s->host_silent = true;
	if (!s->host_deaf && hung_up(s))
		host_deaf(s);
	say_shutdown(s, s->host_deaf ? VSOCK_NEITHER : VSOCK_NO_SEND);
	settle(s);
}

/* An event nobody asked for: the socket's peer has closed it. What it sent before may still wait to be read. */
static void on_hang_up(struct vsock_stream *s)
{
	int unread = 0;
	if (ioctl(s->fd, FIONREAD, &unread) < 0)
		unread = 0;
	host_deaf(s);
	if (s->state == VSOCK_CONNECTING) {
		if (unread)
			vsock_stream__arm(s); /* the guest has the bytes once it answers */
		else if (s->send & VSOCK_SEND_REQUEST)
			vsock_stream__free(s);
		else
			vsock_stream__reset(s);
		return;
	}
	if (!unread && !s->host_silent && s->state == VSOCK_OPEN)
		vsock_stream__host_silent(s);
	else
		settle(s);
}

static void on_ready(void *arg, int fd, unsigned ready)
{
	struct vsock_stream *s = arg;
	struct vsock *v = s->vsock;
	unsigned armed = s->armed;
	(void)fd;
	if ((ready & armed & LOOP_WRITE) && !flush(s)) {
		vsock_rx__pump(v);
		return;
	}
	if (ready & armed & LOOP_READ)
		vsock_rx__read(s);
	else if (ready & ~armed && s->in_loop)
		on_hang_up(s);
	vsock_rx__pump(v);
}

void vsock_stream__free(struct vsock_stream *s)
{
	struct vsock *v = s->vsock;
	close_socket(s);
	close_spill(s);
	if (s->state != VSOCK_LINGERING)
		LIST_REMOVE(s, bucket);
	if (s->send)
		TAILQ_REMOVE(&v->control, s, control);
	if (s->waiting)
		TAILQ_REMOVE(&v->waiting, s, wait);
	TAILQ_REMOVE(&v->streams, s, all);
	v->stream_count--;
	free(s);
}

void vsock_stream__reset(struct vsock_stream *s)
{
	vsock_rx__send_reset(s->vsock, s->guest_port, s->host_port, VSOCK_TYPE_STREAM);
	vsock_stream__free(s);
}
