/* One connection of the control channel: frames out of a queue, and requests in. */
#include "vmm/control/channel.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/config.h"

#define REQUESTS_A_TURN 16
/* The kernel takes so much into a stream socket whole or not at all: a part of its send buffer. */
#define WHOLE_OR_NOTHING 32768

struct channel_out {
	struct channel_out *next;
	uint8_t *bytes;
	size_t len, sent;
};

/* Sending */

void channel__close(struct control_channel *ch)
{
	if (ch->fd < 0)
		return;
	loop__del(ch->control->options.loop, ch->fd);
	close(ch->fd);
	ch->fd = -1;
	while (ch->first) {
		struct channel_out *out = ch->first;
		ch->first = out->next;
		free(out->bytes);
		free(out);
	}
	ch->last = &ch->first;
	ch->queued = 0;
	ch->control->options.ops->closed(ch->control->options.owner, ch);
	if (ch == ch->control->starter) {
		ch->control->starter = NULL;
		ch->control->congested = false;
	}
}

void channel__free(struct control_channel *ch)
{
	channel__close(ch);
	buffer__free(&ch->in);
	free(ch);
}

static void mark_unfinished(const struct control_channel *ch, bool unfinished)
{
	if (ch->starter && ch->control->options.unfinished)
		atomic_store(ch->control->options.unfinished, unfinished);
}

bool channel__flush(struct control_channel *ch)
{
	while (ch->first) {
		struct channel_out *out = ch->first;
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

void channel__lost(struct control_channel *ch)
{
	struct control *control = ch->control;
	bool starter = ch == control->starter;
	channel__close(ch);
	if (starter && !control->finishing)
		control->options.ops->starter_gone(control->options.owner);
}

void channel__send(struct control_channel *ch, const struct buffer *frame)
{
	size_t len = buffer__pending(frame);
	if (ch->fd < 0)
		return;
	if (!ch->starter && ch->queued + len > CONTROL_MAX_BEHIND) {
		channel__close(ch);
		return;
	}
	struct channel_out *out = calloc(1, sizeof(*out));
	uint8_t *copy = malloc(len);
	if (!out || !copy) { /* a gap would be worse than an end */
		free(out);
		free(copy);
		channel__lost(ch);
		return;
	}
	memcpy(copy, buffer__head(frame), len);
	*out = (struct channel_out){.bytes = copy, .len = len};
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

void channel__reply(struct control_channel *to, struct writer *out)
{
	if (frame__end(out))
		channel__lost(to);
	else
		channel__send(to, out->buffer);
	buffer__free(out->buffer);
}

void channel__follow(struct control_channel *channel)
{
	channel->follow = true;
}

/* Receiving */

static void channel__refuse(struct control_channel *ch, uint64_t id, const struct failure *why)
{
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__uint(&out, "reply", id);
	writer__failure(&out, "error", why->code, why->message);
	channel__reply(ch, &out);
}

#define MEMBER(member) offsetof(struct control_request, member)
static const struct cbor_field request_fields[] = {
	{.key = "id", .kind = CBOR_U64, .required = true, .offset = MEMBER(id), .max = 1ULL << 53},
	{.key = "op", .kind = CBOR_TEXT, .required = true, .offset = MEMBER(op)},
	{.key = "port", .kind = CBOR_U32, .offset = MEMBER(port), .min = 1, .max = UINT32_MAX - 1},
	{.key = "data", .kind = CBOR_BYTES, .offset = MEMBER(data)},
	{.key = "memory", .kind = CBOR_U64, .offset = MEMBER(memory), .min = 4096, .max = 1ULL << 46},
	{.key = "follow", .kind = CBOR_BOOL, .offset = MEMBER(follow)},
	{.key = "rules",
	 .kind = CBOR_LIST,
	 .offset = MEMBER(rules),
	 .item = &net_config_rule,
	 .size = sizeof(struct policy_rule),
	 .max = NET_RULES},
	{.key = "otherwise", .kind = CBOR_BOOL, .offset = MEMBER(otherwise)},
	{.key = "host", .kind = CBOR_TEXT, .offset = MEMBER(host)},
	{.key = "protocol",
	 .kind = CBOR_CHOICE,
	 .offset = MEMBER(protocol),
	 .words = net_config_protocols,
	 .min = POLICY_TCP},
};
#undef MEMBER
const struct cbor_table control_request_table = CBOR_TABLE("request", request_fields, .open = true);

static void channel__request(struct control_channel *ch, const uint8_t *body, size_t len)
{
	struct control_request request = {.id = 0};
	struct failure why;
	struct cbor_arena arena = {NULL};
	struct cbor_reader reader = {.arena = &arena, .why = &why};
	if (cbor_table__read(&reader, &control_request_table, body, len, &request))
		channel__refuse(ch, request.id, &why);
	else
		ch->control->options.ops->request(ch->control->options.owner, ch, &request);
	cbor_arena__free(&arena);
}

/* Read towards the end of a frame. 1: it is whole; 0: nothing more now; -1: the channel is at its end, or broken. */
static int channel__receive(struct control_channel *ch, const uint8_t **body, size_t *len)
{
	for (;;) {
		size_t missing = 0;
		int found = frame__peek(&ch->in, body, len, &missing);
		if (found)
			return found;
		uint8_t *room = buffer__reserve(&ch->in, missing);
		if (!room)
			return -1;
		ssize_t n = recv(ch->fd, room, missing, MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		if (n == 0)
			return -1;
		buffer__commit(&ch->in, (size_t)n);
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
		const uint8_t *body = NULL;
		size_t len = 0;
		int got = channel__receive(ch, &body, &len);
		if (got < 0) {
			channel__lost(ch);
			return;
		}
		if (got == 0)
			break;
		channel__request(ch, body, len);
		buffer__consume(&ch->in, FRAME_HEAD + len);
	}
	if (ch->fd >= 0 && channel__watch(ch) < 0)
		channel__lost(ch);
}

int channel__new(struct control *control, int fd, bool starter, struct control_channel **out)
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
