/* libcapsa's entry point for what network rules would do: the monitor's own policy, on a configuration. */
#include "capsa.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/errno_name.h"
#include "net/config.h"
#include "net/explain.h"
#include "net/own.h"

#define MOST 2000000 /* bytes of a question */

struct offline_question {
	struct nat_options net;
	const char *host;
	enum policy_protocol protocol;
	uint16_t port;
};

#define QUESTION(member) offsetof(struct offline_question, member)
static const struct cbor_field fields[] = {
	{.key = "net", .kind = CBOR_MAP, .required = true, .offset = QUESTION(net), .table = &net_config_table},
	{.key = "host", .kind = CBOR_TEXT, .required = true, .offset = QUESTION(host)},
	{.key = "protocol",
	 .kind = CBOR_CHOICE,
	 .required = true,
	 .offset = QUESTION(protocol),
	 .words = net_config_protocols,
	 .min = POLICY_TCP},
	{.key = "port", .kind = CBOR_U16, .offset = QUESTION(port)},
};
#undef QUESTION
const struct cbor_table offline_question_table = CBOR_TABLE("offline-question", fields);

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
	struct cbor_arena arena = {NULL};
	struct cbor_reader reader = {.arena = &arena, .why = &why};
	struct writer out = frame__begin(&frame);
	int err = cbor_table__read(&reader, &offline_question_table, question, len, &asked);
	if (!err)
		err = add_explanation(&out, &asked, &why);
	if (err) {
		out = frame__begin(&frame);
		writer__failure(&out, "error", why.code, why.message);
	}
	cbor_arena__free(&arena);
	return finish(&out, answer, room);
}
