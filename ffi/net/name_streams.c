/* Streams to the guest's name server: of each one message is under way, in or out. */
#include "net/name_streams.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/inquiry.h"
#include "os/socket.h"

#define LENGTH 2 /* bytes before a message (RFC 1035 section 4.2.2) */

struct name_stream {
	struct name_streams *streams;
	int fd;         /* -1: free */
	uint64_t timer; /* 0: none */
	bool waits;     /* for an answer */
	size_t in_len, out_at, out_len;
	uint8_t in[LENGTH + INQUIRY_MAX];
	uint8_t *out; /* what of an answer is still to be sent, from out_at on; NULL: nothing */
};

struct name_streams {
	struct name_streams_options options;
	struct name_stream at[NAME_STREAMS];
};

int name_streams__new(const struct name_streams_options *options, struct name_streams **out)
{
	struct name_streams *streams = calloc(1, sizeof(*streams));
	if (!streams)
		return -ENOMEM;
	streams->options = *options;
	for (unsigned i = 0; i < NAME_STREAMS; i++) {
		streams->at[i].streams = streams;
		streams->at[i].fd = -1;
	}
	*out = streams;
	return 0;
}

void name_streams__free(struct name_streams *streams)
{
	if (!streams)
		return;
	for (unsigned i = 0; i < NAME_STREAMS; i++)
		name_stream__close(&streams->at[i]);
	free(streams);
}

void name_stream__close(struct name_stream *stream)
{
	struct loop *loop = stream->streams->options.loop;
	if (stream->fd < 0)
		return;
	loop__timer_cancel(loop, stream->timer);
	loop__del(loop, stream->fd);
	close(stream->fd);
	free(stream->out);
	*stream = (struct name_stream){.streams = stream->streams, .fd = -1};
}

static void end(struct name_stream *stream)
{
	const struct name_streams_options *options = &stream->streams->options;
	if (stream->waits)
		options->gone(options->arg, stream);
	name_stream__close(stream);
}

static void on_silence(void *arg)
{
	struct name_stream *stream = arg;
	stream->timer = 0;
	end(stream);
}

/* Begin to wait for the next thing. */
static bool await(struct name_stream *stream, unsigned events)
{
	struct loop *loop = stream->streams->options.loop;
	loop__timer_cancel(loop, stream->timer);
	stream->timer = 0;
	bool patient =
		stream->waits || loop__timer(loop, NAME_STREAM_SILENT_MS, on_silence, stream, &stream->timer) == 0;
	return patient && loop__mod(loop, stream->fd, events) == 0;
}

/* Of what has come, the first message, if it is there. */
static void ask(struct name_stream *stream)
{
	const struct name_streams_options *options = &stream->streams->options;
	size_t len = stream->in_len < LENGTH ? 0 : (size_t)(stream->in[0] << 8 | stream->in[1]);
	if (stream->in_len >= LENGTH && (len < DNS_HEADER || len > INQUIRY_MAX)) {
		end(stream);
		return;
	}
	stream->waits = len && stream->in_len >= LENGTH + len;
	if (!await(stream, stream->waits ? 0 : LOOP_READ)) {
		stream->waits = false;
		end(stream);
	} else if (stream->waits) {
		options->asked(options->arg, stream, stream->in + LENGTH, len);
	}
}

static void receive(struct name_stream *stream)
{
	ssize_t n = recv(stream->fd, stream->in + stream->in_len, sizeof(stream->in) - stream->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end(stream);
		return;
	}
	stream->in_len += (size_t)n;
	ask(stream);
}

/* The answer, as far as there is room for it; behind it the next question may be there already. */
static void send_on(struct name_stream *stream)
{
	ssize_t n = send(stream->fd, stream->out + stream->out_at, stream->out_len - stream->out_at,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		end(stream);
		return;
	}
	stream->out_at += n > 0 ? (size_t)n : 0;
	if (stream->out_at < stream->out_len) {
		if (!await(stream, LOOP_WRITE))
			end(stream);
		return;
	}
	free(stream->out);
	stream->out = NULL;
	ask(stream);
}

static void on_ready(void *arg, int fd, unsigned ready)
{
	struct name_stream *stream = arg;
	(void)fd, (void)ready;
	if (stream->waits) /* nothing is waited for but its end */
		end(stream);
	else if (stream->out)
		send_on(stream);
	else
		receive(stream);
}

void name_stream__reply(struct name_stream *stream, const uint8_t *message, size_t len)
{
	size_t asked = LENGTH + (size_t)(stream->in[0] << 8 | stream->in[1]);
	stream->waits = false;
	stream->in_len -= asked;
	memmove(stream->in, stream->in + asked, stream->in_len);
	stream->out = malloc(LENGTH + len);
	stream->out_at = 0;
	stream->out_len = LENGTH + len;
	if (!stream->out) {
		end(stream);
		return;
	}
	stream->out[0] = (uint8_t)(len >> 8);
	stream->out[1] = (uint8_t)len;
	memcpy(stream->out + LENGTH, message, len);
	send_on(stream);
}

int name_streams__open(struct name_streams *streams)
{
	struct name_stream *stream = NULL;
	int ends[2];
	for (unsigned i = 0; i < NAME_STREAMS && !stream; i++)
		if (streams->at[i].fd < 0)
			stream = &streams->at[i];
	if (!stream)
		return -EMFILE;
	int err = socket__pair(SOCK_STREAM, false, ends);
	if (err)
		return err;
	err = loop__add(streams->options.loop, ends[0], LOOP_READ, on_ready, stream);
	if (err) {
		close(ends[0]);
		close(ends[1]);
		return err;
	}
	stream->fd = ends[0];
	if (await(stream, LOOP_READ))
		return ends[1];
	name_stream__close(stream);
	close(ends[1]);
	return -ENOMEM;
}
