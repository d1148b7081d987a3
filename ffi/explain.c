/* libcapsa's entry point for what network rules would do: the monitor's own policy, on a configuration. */
#include "capsa.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/errno_name.h"
#include "net/own.h"
#include "vmm/config.h"
#include "vmm/explain.h"

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
	CborParser parser;
	CborValue value;
	if (cbor_parser_init(from, len, 0, &parser, &value) != CborNoError)
		return failure__set(reader->why, EINVAL, NULL, "the question is not CBOR");
	return cbor_map__read(reader, &value, fields, sizeof(fields) / sizeof(fields[0]), true, out, "");
}

static int add_explanation(struct frame *frame, const struct offline_question *asked, struct failure *why)
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
	frame__open(frame, "result");
	err = explain__add(frame, &egress, &question, 1, why);
	frame__close(frame);
	policy__free(policy);
	own__free(own);
	return err;
}

/* The frame without its length, or with the failure where there was one. */
static int32_t finish(struct frame *frame, uint8_t *answer, size_t room)
{
	if (!frame__end(frame))
		return -ENOMEM;
	size_t len = frame->len - FRAME_HEAD;
	if (len <= room)
		memcpy(answer, frame->bytes + FRAME_HEAD, len);
	free(frame->bytes);
	return len <= room ? (int32_t)len : -ENOBUFS;
}

int32_t capsa_explain(const uint8_t *question, size_t len, uint8_t *answer, size_t room)
{
	struct offline_question asked;
	struct failure why;
	struct frame frame;
	if (!question || !answer || len > MOST)
		return -EINVAL;
	memset(&asked, 0, sizeof(asked));
	struct cbor_reader reader = {.pool = malloc(len + 1), .left = len + 1, .why = &why};
	if (!reader.pool)
		return -ENOMEM;
	char *pool = reader.pool;
	frame__begin(&frame, EXPLAIN_ROOM);
	int err = read_question(&reader, question, len, &asked);
	if (!err)
		err = add_explanation(&frame, &asked, &why);
	if (err) {
		frame__drop(&frame);
		frame__begin(&frame, EXPLAIN_ROOM);
		frame__open(&frame, "error");
		frame__failure(&frame, &why);
		frame__close(&frame);
	}
	free(asked.net.rules.at);
	free(pool);
	return finish(&frame, answer, room);
}
