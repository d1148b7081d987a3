/* The control channel's server: reads requests, writes replies and events, and lets no slow reader hold anything up. */
#include "vmm/control.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_CHANNELS 64
#define FOLLOWER_MS 1000
#define REQUESTS_A_TURN 16
/* The kernel takes so much into a stream socket whole or not at all: a part of its send buffer. */
#define WHOLE_OR_NOTHING 32768

struct out {
	struct out *next;
	uint8_t *bytes;
	size_t len, sent;
};

struct control_channel {
	struct control *control;
	struct control_channel *next;
	int fd; /* -1: closed; freed by the next sweep */
	bool starter;
	bool follow;
	uint8_t *in; /* the frame under way, from its length on */
	size_t in_len, in_room;
	struct out *first, **last;
	size_t queued; /* bytes not sent yet */
};

struct control {
	struct control_options options;
	struct control_channel *channels;
	struct control_channel *starter; /* NULL once it is gone */
	int listener;
	unsigned count;
	bool congested;
	bool finishing;
};

/* Sending */

static void channel__close(struct control_channel *ch)
{
	if (ch->fd < 0)
		return;
	loop__del(ch->control->options.loop, ch->fd);
	close(ch->fd);
	ch->fd = -1;
	while (ch->first) {
		struct out *out = ch->first;
		ch->first = out->next;
		free(out->bytes);
		free(out);
	}
	ch->last = &ch->first;
	ch->queued = 0;
	if (ch == ch->control->starter) {
		ch->control->starter = NULL;
		ch->control->congested = false;
	}
}

static void channel__forget(struct control_channel *ch)
{
	channel__close(ch);
	free(ch->in);
	free(ch);
}

/* Free what was closed. Not from within a channel's handler. */
static void sweep(struct control *control)
{
	for (struct control_channel **at = &control->channels; *at;) {
		struct control_channel *ch = *at;
		if (ch->fd >= 0) {
			at = &ch->next;
			continue;
		}
		*at = ch->next;
		control->count--;
		channel__forget(ch);
	}
}

static void mark_unfinished(const struct control_channel *ch, bool unfinished)
{
	if (ch->starter && ch->control->options.unfinished)
		atomic_store(ch->control->options.unfinished, unfinished);
}

/* Write what the socket takes. False when the other side is gone. */
static bool channel__flush(struct control_channel *ch)
{
	while (ch->first) {
		struct out *out = ch->first;
		if (out->len > WHOLE_OR_NOTHING)
			mark_unfinished(ch, true);
		ssize_t n = send(ch->fd, out->bytes + out->sent, out->len - out->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			out->sent += (size_t)n;
			ch->queued -= (size_t)n;
		}
		mark_unfinished(ch, out->sent > 0 && out->sent < out->len);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (out->sent < out->len)
			continue;
		ch->first = out->next;
		if (!ch->first)
			ch->last = &ch->first;
		free(out->bytes);
		free(out);
	}
	return true;
}

/* What the loop is to watch: requests are not taken from a channel that does not take their answers. */
static int channel__watch(struct control_channel *ch)
{
	unsigned events = ch->first ? LOOP_WRITE : 0;
	if (ch->queued < CONTROL_CONGESTED)
		events |= LOOP_READ;
	return loop__mod(ch->control->options.loop, ch->fd, events);
}

static void channel__lost(struct control_channel *ch)
{
	struct control *control = ch->control;
	bool starter = ch == control->starter;
	channel__close(ch);
	if (starter && !control->finishing)
		control->options.ops->starter_gone(control->options.owner);
}

/* Send a copy of the bytes. */
static void channel__send(struct control_channel *ch, const uint8_t *bytes, size_t len)
{
	if (ch->fd < 0)
		return;
	if (!ch->starter && ch->queued + len > CONTROL_MAX_BEHIND) {
		channel__close(ch);
		return;
	}
	struct out *out = calloc(1, sizeof(*out));
	uint8_t *copy = malloc(len);
	if (!out || !copy) { /* a gap would be worse than an end */
		free(out);
		free(copy);
		channel__lost(ch);
		return;
	}
	memcpy(copy, bytes, len);
	*out = (struct out){.bytes = copy, .len = len};
	*ch->last = out;
	ch->last = &out->next;
	ch->queued += len;
	if (!channel__flush(ch) || channel__watch(ch) < 0) {
		channel__lost(ch);
		return;
	}
	if (ch->starter && ch->queued >= CONTROL_CONGESTED)
		ch->control->congested = true;
}

void control__reply(struct control_channel *to, struct frame *frame)
{
	if (!frame__end(frame)) {
		channel__lost(to);
		return;
	}
	channel__send(to, frame->bytes, frame->len);
	free(frame->bytes);
}

void control__follow(struct control_channel *channel)
{
	channel->follow = true;
}

bool control__congested(const struct control *control)
{
	return control->congested;
}

void control__event(struct control *control, struct frame *frame, bool keep_up)
{
	if (!frame__end(frame))
		return;
	for (struct control_channel *ch = control->channels; ch; ch = ch->next)
		if (ch->follow && !(keep_up && ch->queued >= CONTROL_CONGESTED))
			channel__send(ch, frame->bytes, frame->len);
	free(frame->bytes);
}

/* Receiving */

static void channel__refuse(struct control_channel *ch, uint64_t id, const struct failure *why)
{
	struct frame frame;
	frame__begin(&frame, sizeof(*why) + 64);
	frame__uint(&frame, "reply", id);
	frame__open(&frame, "error");
	frame__failure(&frame, why);
	frame__close(&frame);
	control__reply(ch, &frame);
}

static void channel__request(struct control_channel *ch, const uint8_t *body, size_t len)
{
#define MEMBER(member) offsetof(struct control_request, member)
	static const struct cbor_field fields[] = {
		{.key = "id", .kind = CBOR_KIND_UINT, .required = true, .offset = MEMBER(id), .max = 1ULL << 53},
		{.key = "op", .kind = CBOR_KIND_TEXT, .required = true, .offset = MEMBER(op)},
		{.key = "port", .kind = CBOR_KIND_UINT, .offset = MEMBER(port), .min = 1, .max = UINT32_MAX - 1},
		{.key = "data", .kind = CBOR_KIND_BYTES, .offset = MEMBER(data)},
		{.key = "follow", .kind = CBOR_KIND_BOOL, .offset = MEMBER(follow)},
	};
#undef MEMBER
	struct control_request request = {.id = 0};
	struct failure why = {.code = "EINVAL", .message = "the request is not CBOR"};
	CborParser parser;
	CborValue value;
	char *pool = malloc(len + 1);
	struct cbor_reader reader = {.pool = pool, .left = len + 1, .why = &why};
	if (!pool || cbor_parser_init(body, len, 0, &parser, &value) != CborNoError ||
	    cbor_map__read(&reader, &value, fields, sizeof(fields) / sizeof(fields[0]), false, &request, ""))
		channel__refuse(ch, request.id, &why);
	else
		ch->control->options.ops->request(ch->control->options.owner, ch, &request);
	free(pool);
}

/* Room for the whole frame under way; what a channel sends beyond its first 4 KiB is given room when announced. */
static bool channel__room(struct control_channel *ch, size_t want)
{
	if (want <= ch->in_room)
		return true;
	uint8_t *in = realloc(ch->in, want);
	if (!in)
		return false;
	ch->in = in;
	ch->in_room = want;
	return true;
}

/* Read towards the end of a frame. 1: it is whole; 0: nothing more now; -1: the channel is at its end, or broken. */
static int channel__receive(struct control_channel *ch)
{
	for (;;) {
		size_t want = FRAME_HEAD;
		if (ch->in_len >= FRAME_HEAD) {
			uint32_t len = frame__length(ch->in);
			if (len == 0 || len > FRAME_MAX)
				return -1;
			want += len;
		}
		if (ch->in_len > FRAME_HEAD && ch->in_len == want)
			return 1;
		if (!channel__room(ch, want < 4096 ? 4096 : want))
			return -1;
		ssize_t n = recv(ch->fd, ch->in + ch->in_len, want - ch->in_len, MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		if (n == 0)
			return -1;
		ch->in_len += (size_t)n;
	}
}

static void channel__ready(void *arg, int fd, unsigned ready)
{
	struct control_channel *ch = arg;
	struct control *control = ch->control;
	(void)fd;
	if ((ready & LOOP_WRITE) && ch->first) {
		if (!channel__flush(ch)) {
			channel__lost(ch);
			return;
		}
		if (ch == control->starter && control->congested && ch->queued < CONTROL_CONGESTED / 2) {
			control->congested = false;
			control->options.ops->drained(control->options.owner);
		}
	}
	for (int i = 0; (ready & LOOP_READ) && i < REQUESTS_A_TURN && ch->fd >= 0; i++) {
		int got = channel__receive(ch);
		if (got < 0) {
			channel__lost(ch);
			return;
		}
		if (got == 0)
			break;
		size_t len = ch->in_len - FRAME_HEAD;
		ch->in_len = 0;
		channel__request(ch, ch->in + FRAME_HEAD, len);
	}
	if (ch->fd >= 0 && channel__watch(ch) < 0)
		channel__lost(ch);
}

/* Channels */

static int channel__new(struct control *control, int fd, bool starter, struct control_channel **out)
{
	struct control_channel *ch = calloc(1, sizeof(*ch));
	if (!ch)
		return -ENOMEM;
	*ch = (struct control_channel){
		.control = control, .fd = fd, .starter = starter, .follow = starter, .next = control->channels};
	ch->last = &ch->first;
	int err = loop__add(control->options.loop, fd, LOOP_READ, channel__ready, ch);
	if (err) {
		free(ch);
		return err;
	}
	control->channels = ch;
	control->count++;
	*out = ch;
	return 0;
}

static void listener__ready(void *arg, int fd, unsigned ready)
{
	struct control *control = arg;
	struct control_channel *ch;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	(void)ready;
	sweep(control);
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client < 0)
		return;
	if (control->count >= MAX_CHANNELS || getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
	    (peer.uid != geteuid() && peer.uid != 0) || channel__new(control, client, false, &ch) < 0)
		close(client);
}

int control__new(const struct control_options *options, struct control **out)
{
	struct control *control = calloc(1, sizeof(*control));
	if (!control)
		return -ENOMEM;
	control->options = *options;
	control->listener = -1;
	int err = channel__new(control, options->starter, true, &control->starter);
	if (err) {
		free(control);
		return err;
	}
	*out = control;
	return 0;
}

int control__listen(struct control *control, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	if (snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path) >= (int)sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int err = 0;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, MAX_CHANNELS) < 0)
		err = -errno;
	if (!err)
		err = loop__add(control->options.loop, fd, LOOP_READ, listener__ready, control);
	if (err) {
		close(fd);
		return err;
	}
	control->listener = fd;
	return 0;
}

static void stop_listening(struct control *control)
{
	if (control->listener < 0)
		return;
	loop__del(control->options.loop, control->listener);
	close(control->listener);
	control->listener = -1;
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void control__finish(struct control *control, struct frame *frame, int starter_ms)
{
	stop_listening(control);
	control->finishing = true;
	bool whole = frame__end(frame);
	int64_t began = now_ms();
	for (struct control_channel *ch = control->channels; ch; ch = ch->next) {
		if (whole && ch->follow)
			channel__send(ch, frame->bytes, frame->len);
		int64_t until = began + (ch->starter ? starter_ms : FOLLOWER_MS);
		while (ch->first) {
			struct pollfd pfd = {.fd = ch->fd, .events = POLLOUT};
			int64_t left = until - now_ms();
			if (left <= 0 || (poll(&pfd, 1, (int)left) < 0 && errno != EINTR) || !channel__flush(ch))
				break;
		}
		channel__close(ch);
	}
	if (whole)
		free(frame->bytes);
}

void control__free(struct control *control)
{
	if (!control)
		return;
	stop_listening(control);
	while (control->channels) {
		struct control_channel *ch = control->channels;
		control->channels = ch->next;
		channel__forget(ch);
	}
	free(control);
}
