/* A connection of the host: frames in, frames out, and the calls open on it. */
#include "agent/connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/call.h"
#include "agent/relay.h"
#include "common/errno_name.h"

enum {
	READ_SIZE = 65536,    /* bytes read beyond the frame that is awaited */
	ROUNDS = 8,           /* of producing and sending before others have their turn */
	AWAITED_MIN = 16384,  /* bytes of a frame still missing from which on it is worth to await many at once */
	AWAITED_MAX = 131072, /* bytes awaited at once; well below what a socket holds */
	PARTING_MS = 100,     /* that a host may take to close its side */
};

#define OPERATION_LISTED(name) &operation__##name,
static const struct operation *const operations[] = {OPERATIONS(OPERATION_LISTED) NULL};

static const struct operation *find_operation(struct span op)
{
	for (const struct operation *const *operation = operations; *operation; operation++)
		if (span__equals(op, (*operation)->op))
			return *operation;
	return NULL;
}

/* The host broke the protocol: say so (id 0: no call is meant), then close. */
static void refuse(struct connection *connection, const char *message)
{
	connection->refused = true;
	while (connection->calls)
		call__drop(connection->calls);
	struct writer out = frame__begin(&connection->out);
	writer__uint(&out, "id", 0);
	writer__bool(&out, "ok", false);
	writer__failure(&out, "error", errno_name(EPROTO), message);
	if (frame__end(&out))
		connection->broken = true;
}

static struct call *find(const struct connection *connection, uint64_t id)
{
	struct call *call = connection->calls;
	while (call && call->id != id)
		call = call->next;
	return call;
}

/* An operation the agent does not have: refused by the same way as every failed call. */
static const struct operation unknown = {.op = "unknown", .size = sizeof(struct call)};

static void start(struct connection *connection, uint64_t id, struct span op, const CborValue *request)
{
	struct agent *agent = connection->agent;
	const struct operation *operation = find_operation(op);
	if (find(connection, id)) {
		refuse(connection, "a request under the id of a call that is still open");
		return;
	}
	struct call *call = calloc(1, operation ? operation->size : unknown.size);
	if (!call) {
		connection->broken = true;
		return;
	}
	call->operation = &unknown;
	call->connection = connection;
	call->id = id;
	call->next = connection->calls;
	if (call->next)
		call->next->prev = call;
	connection->calls = call;
	agent->call_count++;
	if (!operation) {
		call__fail(call, ENOSYS, "no operation \"%.*s\" in %s", op.length > 64 ? 64 : (int)op.length,
			   (const char *)op.at, AGENT_NAME);
	} else if (agent->ending) {
		call__fail(call, ECANCELED, "the sandbox is shutting down");
	} else if (agent->call_count > AGENT_CALLS) {
		call__fail(call, EAGAIN, "%d calls are open: the limit", AGENT_CALLS);
	} else {
		call->operation = operation;
		if (operation->passive)
			agent->passive_count++;
		else
			agent->used = true;
		operation->start(call, request);
	}
}

static void acknowledge(struct call *call, uint64_t bytes)
{
	call->unacknowledged -= bytes < call->unacknowledged ? (size_t)bytes : call->unacknowledged;
}

static void handle(struct connection *connection, const uint8_t *body, size_t length)
{
	struct message message;
	uint64_t id = 0;
	const char *why;
	if (message__parse(&message, body, length, &why) < 0) {
		refuse(connection, why);
		return;
	}
	struct span op;
	int has_op = reader__text(&message.map, "op", &op);
	struct span ev;
	int has_ev = reader__text(&message.map, "ev", &ev);
	uint64_t credit;
	int has_credit = reader__uint(&message.map, "credit", &credit);
	struct call *call;
	if (reader__uint(&message.map, "id", &id) != 1 || id == 0) {
		refuse(connection, "a frame without an id of 1 or more");
	} else if (has_op == 1) {
		start(connection, id, op, &message.map);
	} else if (has_ev != 1 && has_credit != 1) {
		refuse(connection, "a frame with none of op, ev and credit");
	} else {
		/* the call may have ended while this was under way */
		call = find(connection, id);
		if (call && has_ev == 1 && call->operation->event)
			call->operation->event(call, ev, &message.map);
		else if (call && has_credit == 1)
			acknowledge(call, credit);
	}
}

static void handle_received(struct connection *connection)
{
	while (!connection->broken && !connection->refused && connection->stream < 0 &&
	       !connection__congested(connection)) {
		const uint8_t *body;
		size_t length, missing;
		int found = frame__peek(&connection->in, &body, &length, &missing);
		if (found == 0)
			return;
		if (found < 0) {
			char message[80];
			snprintf(message, sizeof(message), "a frame of %u bytes: they are of 1 to %d",
				 frame__length(buffer__head(&connection->in)), FRAME_LIMIT);
			refuse(connection, message);
			return;
		}
		handle(connection, body, length);
		buffer__consume(&connection->in, FRAME_HEAD + length);
	}
}

/* A large frame comes in many small packets: have the socket tell of them together. Where a kernel does not, it tells
 * of each. */
static void await(struct connection *connection)
{
	const uint8_t *body;
	size_t length, missing;
	int awaited = 1;
	if (frame__peek(&connection->in, &body, &length, &missing) == 0 && missing >= AWAITED_MIN)
		awaited = missing < AWAITED_MAX ? (int)missing : AWAITED_MAX;
	if (awaited != connection->awaited &&
	    setsockopt(connection->fd, SOL_SOCKET, SO_RCVLOWAT, &awaited, sizeof(awaited)) == 0)
		connection->awaited = awaited;
}

static void receive(struct connection *connection)
{
	const uint8_t *body;
	size_t length, missing;
	if (frame__peek(&connection->in, &body, &length, &missing) != 0)
		return; /* what is there is handled first */
	uint8_t *room = buffer__reserve(&connection->in, missing + READ_SIZE);
	if (!room) {
		connection->broken = true;
		return;
	}
	ssize_t n = read(connection->fd, room, missing + READ_SIZE);
	if (n > 0)
		buffer__commit(&connection->in, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		connection->broken = true;
}

static void discard(struct connection *connection)
{
	uint8_t scrap[4096];
	ssize_t n = read(connection->fd, scrap, sizeof(scrap));
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		connection->broken = true;
}

static void ready(void *arg, int fd, unsigned what)
{
	struct connection *connection = arg;
	(void)fd;
	if (connection->parted)
		discard(connection);
	else if (what & LOOP_READ)
		receive(connection);
}

/* What the loop is to watch; a hang-up is read as the end. */
static void watch(struct connection *connection, bool room, bool more)
{
	connection->awaits_room = room;
	if (loop__mod(connection->agent->loop, connection->fd, (room ? LOOP_WRITE : 0U) | (more ? LOOP_READ : 0U)))
		connection->broken = true;
}

static bool produce(struct connection *connection)
{
	bool produced = false;
	struct call *next;
	for (struct call *call = connection->calls; call && !connection__congested(connection); call = next) {
		next = call->next;
		if (call->operation->produce && call->operation->produce(call))
			produced = true;
	}
	return produced;
}

static void flush(struct connection *connection)
{
	int err = buffer__flush(&connection->out, connection->fd);
	if (err && err != -EAGAIN)
		connection->broken = true;
}

/* Once the host has been told. What it sends from then on is not for us. */
static void become_stream(struct connection *connection)
{
	int host = connection->fd, guest = connection->stream;
	if (buffer__pending(&connection->out)) {
		watch(connection, true, false);
		return;
	}
	loop__del(connection->agent->loop, host);
	connection->fd = connection->stream = -1;
	if (relay__open(connection->agent, host, guest, &connection->in))
		fprintf(stderr, "capsa-agent: no memory for a stream\n");
	connection__close(connection);
}

bool connection__settle(struct connection *connection)
{
	struct agent *agent = connection->agent;
	bool more = !connection->parted;
	for (int round = 0; more && round < ROUNDS && !connection->broken; round++) {
		handle_received(connection);
		more = produce(connection) && !connection->broken;
		bool congested = connection__congested(connection);
		if (!connection->broken)
			flush(connection);
		/* calls that were held up have to be asked again: nothing else will wake them */
		more = more || (congested && !connection__congested(connection));
	}
	if (connection->broken) {
		connection__close(connection);
		return false;
	}
	if (connection->refused && !buffer__pending(&connection->out))
		connection__part(connection);
	if (connection->parted)
		return false;
	if (connection->stream >= 0) {
		become_stream(connection);
		return false;
	}
	if (connection->shutdown_wanted && !buffer__pending(&connection->out)) {
		connection->shutdown_wanted = false;
		agent->shutdown_wanted = true;
		agent->grace_ms = connection->grace_ms;
	}
	await(connection);
	watch(connection, buffer__pending(&connection->out) > 0,
	      !connection->refused && !connection__congested(connection));
	return more && !connection__congested(connection);
}

static void parting_over(void *arg)
{
	struct connection *connection = arg;
	connection->parting = 0;
	connection->broken = true;
}

int connection__open(struct agent *agent, int fd)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	int err = connection ? loop__add(agent->loop, fd, LOOP_READ, ready, connection) : -ENOMEM;
	if (err) {
		free(connection);
		close(fd);
		return err;
	}
	*connection =
		(struct connection){.agent = agent, .fd = fd, .awaited = 1, .stream = -1, .next = agent->connections};
	if (connection->next)
		connection->next->prev = connection;
	agent->connections = connection;
	agent->connection_count++;
	return 0;
}

void connection__close(struct connection *connection)
{
	struct agent *agent = connection->agent;
	while (connection->calls)
		call__drop(connection->calls);
	loop__timer_cancel(agent->loop, connection->parting);
	if (connection->fd >= 0) {
		loop__del(agent->loop, connection->fd);
		close(connection->fd);
	}
	if (connection->stream >= 0)
		close(connection->stream);
	buffer__free(&connection->in);
	buffer__free(&connection->out);
	if (connection->prev)
		connection->prev->next = connection->next;
	else
		agent->connections = connection->next;
	if (connection->next)
		connection->next->prev = connection->prev;
	agent->connection_count--;
	free(connection);
}

void connection__part(struct connection *connection)
{
	if (connection->parted)
		return;
	while (connection->calls)
		call__drop(connection->calls);
	connection->parted = true;
	watch(connection, false, true);
	shutdown(connection->fd, SHUT_WR);
	if (loop__timer(connection->agent->loop, PARTING_MS, parting_over, connection, &connection->parting))
		connection->broken = true;
}
