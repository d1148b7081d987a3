/* A call: an open request of the host, its flow control, and how it ends. */
#include "agent/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/errno_name.h"
#include "common/utf8.h"

enum { MESSAGE_SIZE = 1024 };

size_t call__room(const struct call *call)
{
	size_t room = call->unacknowledged < call->window ? call->window - call->unacknowledged : 0;
	/* small frames cost as much as large ones: when most of the window is under way, wait for credit */
	return call->unacknowledged && room < call->window / 4 ? 0 : room;
}

int call__take_window(struct call *call, const CborValue *request)
{
	uint64_t window = WINDOW_DEFAULT;
	if (reader__uint(request, "window", &window) < 0 || window == 0)
		return call__refuse(call, "window");
	call->window = window > WINDOW_LIMIT ? WINDOW_LIMIT : (size_t)window;
	return 0;
}

int call__take_path(struct call *call, const CborValue *request, const char *key, char path[PATH_MAX])
{
	struct span span;
	if (reader__string(request, key, &span) != 1)
		return call__refuse(call, key);
	if (span.length >= PATH_MAX)
		return call__fail(call, ENAMETOOLONG, "a path of %zu bytes: the limit is %d", span.length,
				  PATH_MAX - 1);
	if (!span.length || span.at[0] != '/' || memchr(span.at, 0, span.length))
		return call__fail(call, EINVAL, "%s \"%.*s\" is not absolute, or holds a NUL", key, (int)span.length,
				  (const char *)span.at);
	memcpy(path, span.at, span.length);
	path[span.length] = '\0';
	return 0;
}

int call__take_uint(struct call *call, const CborValue *request, const char *key, uint64_t most, uint64_t *value)
{
	int found = reader__uint(request, key, value);
	if (found < 0 || (found == 1 && *value > most))
		return call__refuse(call, key);
	return found;
}

int call__take_mode(struct call *call, const CborValue *request, mode_t *mode)
{
	uint64_t value = 0;
	int found = call__take_uint(call, request, "mode", 07777, &value);
	if (found == 1)
		*mode = (mode_t)value;
	return found;
}

int call__take_bool(struct call *call, const CborValue *request, const char *key, bool *value)
{
	if (reader__bool(request, key, value) >= 0)
		return 0;
	return call__refuse(call, key);
}

void call__break(struct call *call)
{
	call->connection->broken = true;
}

void call__drop(struct call *call)
{
	if (call->operation->release)
		call->operation->release(call);
	if (call->prev)
		call->prev->next = call->next;
	else
		call->connection->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
	call->connection->agent->call_count--;
	if (call->operation->passive)
		call->connection->agent->passive_count--;
	free(call);
}

/* A frame of the call. */
static struct writer begin(const struct call *call)
{
	struct writer out = frame__begin(&call->connection->out);
	writer__uint(&out, "id", call->id);
	return out;
}

int call__fail(struct call *call, int err, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char message[MESSAGE_SIZE];
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	utf8__mend(message, strlen(message));
	struct writer out = begin(call);
	writer__bool(&out, "ok", false);
	writer__failure(&out, "error", errno_name(err), message);
	call__finish(call, &out);
	return err < 0 ? err : -err;
}

int call__refuse(struct call *call, const char *field)
{
	return call__fail(call, EPROTO, "%s: \"%s\" is missing or not as the protocol has it", call->operation->op,
			  field);
}

int call__fail_at(struct call *call, int err, const char *path)
{
	return call__fail(call, err, "%s: %s", path, strerror(err < 0 ? -err : err));
}

void call__give_up(struct call *call, const char *path)
{
	call__fail(call, ECANCELED, "%s: given up by the host", path);
}

struct writer call__respond(const struct call *call)
{
	struct writer out = begin(call);
	writer__bool(&out, "ok", true);
	return out;
}

struct writer call__begin_event(const struct call *call, const char *ev)
{
	struct writer out = begin(call);
	writer__text(&out, "ev", ev);
	return out;
}

void call__tell(struct call *call, struct writer *out)
{
	if (frame__end(out))
		call__break(call);
}

void call__tell_entries(struct call *call, uint64_t count, const uint8_t *entries, size_t length)
{
	struct writer out = call__begin_event(call, "entries");
	writer__items(&out, "entries", count, entries, length);
	call->unacknowledged += out.length - FRAME_HEAD;
	call__tell(call, &out);
}

void call__finish(struct call *call, struct writer *out)
{
	call__tell(call, out);
	call__drop(call);
}

void call__succeed(struct call *call)
{
	struct writer out = call__respond(call);
	call__finish(call, &out);
}

void call__succeed_with(struct call *call, const char *field, uint64_t value)
{
	struct writer out = call__respond(call);
	writer__uint(&out, field, value);
	call__finish(call, &out);
}

void call__become(struct call *call, int fd)
{
	struct connection *connection = call->connection;
	if (connection->agent->relay_count >= AGENT_RELAYS) {
		close(fd);
		call__fail(call, EAGAIN, "%d streams are open: the limit", AGENT_RELAYS);
		return;
	}
	call__succeed(call);
	for (struct call *open = connection->calls, *next; open; open = next) {
		next = open->next;
		call__drop(open);
	}
	connection->stream = fd;
}

void call__credit(struct call *call, size_t bytes)
{
	if (!bytes)
		return;
	struct writer out = begin(call);
	writer__uint(&out, "credit", bytes);
	call__tell(call, &out);
}
