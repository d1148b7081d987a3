/* hello, ping and shutdown: the calls about the connection and the sandbox itself. */
#include <errno.h>

#include "agent/call.h"

enum { GRACE_DEFAULT_MS = 5000, GRACE_LIMIT_MS = 3600000 };

static void hello(struct call *call, const CborValue *request)
{
	uint64_t version = 0;
	if (reader__uint(request, "version", &version) != 1) {
		call__refuse(call, "version");
		return;
	}
	if (version != AGENT_PROTOCOL) {
		call__fail(call, EPROTO, "protocol version %llu; %s speaks version %d", (unsigned long long)version,
			   AGENT_NAME, AGENT_PROTOCOL);
		return;
	}
	struct writer out = call__respond(call);
	writer__uint(&out, "version", AGENT_PROTOCOL);
	writer__text(&out, "agent", AGENT_NAME);
	call__finish(call, &out);
}

static void ping(struct call *call, const CborValue *request)
{
	struct span data;
	int found = reader__bytes(request, "data", &data);
	if (found < 0) {
		call__refuse(call, "data");
	} else if (found == 0) {
		call__succeed(call);
	} else {
		struct writer out = call__respond(call);
		writer__bytes(&out, "data", data.at, data.length);
		call__finish(call, &out);
	}
}

static void shutdown_sandbox(struct call *call, const CborValue *request)
{
	struct connection *connection = call->connection;
	uint64_t grace_ms = GRACE_DEFAULT_MS;
	if (reader__uint(request, "graceMs", &grace_ms) < 0) {
		call__refuse(call, "graceMs");
		return;
	}
	connection->shutdown_wanted = true;
	connection->grace_ms = grace_ms > GRACE_LIMIT_MS ? GRACE_LIMIT_MS : grace_ms;
	call__succeed(call);
}

const struct operation operation__hello = {.op = "hello", .size = sizeof(struct call), .passive = true, .start = hello};
const struct operation operation__ping = {.op = "ping", .size = sizeof(struct call), .start = ping};
const struct operation operation__shutdown = {.op = "shutdown", .size = sizeof(struct call), .start = shutdown_sandbox};
