/* libcapsa's entry point for what network rules would do: the monitor's own policy, on a configuration. */
#include "capsa.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/errno_name.h"
#include "net/explain.h"
#include "net/own.h"
#include "vmm/build/config.h"

#define MOST 2000000 /* bytes of a question */

struct offline_question {
	struct config_net net;
	const char *host;
	enum policy_protocol protocol;
	uint64_t port;
};

static int read_question(struct cbor_reader *reader, const uint8_t *from, size_t len, struct offline_question *out)
{
#define QUESTION(member) offsetof(struct offline_question, member)
	static const struct cbor_field fields[] = {
		{.key = "net",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = QUESTION(net),
		 .read = config_net__read},
		{.key = "host", .kind = CBOR_KIND_TEXT, .required = true, .offset = QUESTION(host)},
		{.key = "protocol",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = QUESTION(protocol),
		 .read = config_protocol__read},
		{.key = "port", .kind = CBOR_KIND_UINT, .offset = QUESTION(port), .max = UINT16_MAX},
	};
#undef QUESTION
	return cbor_message__read(reader, from, len, fields, sizeof(fields) / sizeof(fields[0]), true, out);
}

static int add_explanation(struct writer *out, const struct offline_question *asked, struct failure *why)
{
	struct policy *policy;
	struct own *own;
	int err = own__new(&own);
	if (err)
		return failure__set(why, -err, NULL, OWN_UNKNOWN, errno_name(-err));
	const struct policy_own is_own = {own__holds, own};
	if (policy__new(asked->net.rules.at, asked->net.rules.count, asked->net.otherwise, &is_own, &policy)) {
		own__free(own);
		return failure__set(why, ENOMEM, NULL, "no memory for the rules");
	}
	const struct egress egress = {
		.addresses = &asked->net.addresses,
		.policy = policy,
		.host_loopback = asked->net.host_loopback,
		.services = asked->net.services,
	};
	const struct explain_question question = {
		.host = asked->host, .protocol = asked->protocol, .port = asked->port};
	writer__open(out, "result");
	err = explain__add(out, &egress, &question, 1, why);
	writer__close(out);
	policy__free(policy);
	own__free(own);
	return err;
}

/* The frame without its length, or with the failure where there was one. */
static int32_t finish(struct writer *out, uint8_t *answer, size_t room)
{
	if (frame__end(out)) {
		buffer__free(out->buffer);
		return -ENOMEM;
	}
	size_t len = buffer__pending(out->buffer) - FRAME_HEAD;
	if (len <= room)
		memcpy(answer, buffer__head(out->buffer) + FRAME_HEAD, len);
	buffer__free(out->buffer);
	return len <= room ? (int32_t)len : -ENOBUFS;
}

int32_t capsa_explain(const uint8_t *question, size_t len, uint8_t *answer, size_t room)
{
	struct offline_question asked;
	struct failure why;
	struct buffer frame = {.data = NULL};
	if (!question || !answer || len > MOST)
		return -EINVAL;
	memset(&asked, 0, sizeof(asked));
	struct cbor_reader reader = {.pool = malloc(len + 1), .left = len + 1, .why = &why};
	if (!reader.pool)
		return -ENOMEM;
	char *pool = reader.pool;
	struct writer out = frame__begin(&frame);
	int err = read_question(&reader, question, len, &asked);
	if (!err)
		err = add_explanation(&out, &asked, &why);
	if (err) {
		out = frame__begin(&frame);
		writer__failure(&out, "error", why.code, why.message);
	}
	free(asked.net.rules.at);
	free(pool);
	return finish(&out, answer, room);
}
