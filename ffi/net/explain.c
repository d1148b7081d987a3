/* Network rules in words: the verdict and whose it is. */
#include "net/explain.h"

#include <errno.h>
#include <string.h>

void explain__add_rule(struct writer *out, const struct policy_rule *rule)
{
	static const char *const protocols[] = {[POLICY_TCP] = "tcp", [POLICY_UDP] = "udp", [POLICY_ICMP] = "icmp"};
	char network[NETWORK_TEXT];
	writer__bool(out, "allow", rule->allow);
	if (rule->log)
		writer__bool(out, "log", true);
	if (rule->own)
		writer__bool(out, "own", true);
	if (rule->name)
		writer__text(out, "name", rule->name);
	else
		writer__text(out, "network", network__print(&rule->network, network));
	if (rule->protocol != POLICY_ANY)
		writer__text(out, "protocol", protocols[rule->protocol]);
	writer__uint(out, "firstPort", rule->first_port);
	writer__uint(out, "lastPort", rule->last_port);
	if (rule->why)
		writer__text(out, "why", rule->why);
	if (rule->text)
		writer__text(out, "text", rule->text);
}

static int wrong(struct failure *why, const char *what)
{
	return failure__set(why, EINVAL, NULL, "\"explain\" needs %s", what);
}

static int check(const struct explain_question *question, struct failure *why)
{
	if (!question->host || !*question->host || strlen(question->host) > POLICY_NAME_MAX)
		return wrong(why, "a host, a name or an address");
	if (question->protocol == POLICY_ANY)
		return wrong(why, "a protocol: tcp, udp or icmp");
	if (question->port > UINT16_MAX || !question->port != (question->protocol == POLICY_ICMP))
		return wrong(why, "a port from 1 to 65535, and none with icmp");
	return 0;
}

int explain__add(struct writer *out, const struct egress *egress, const struct explain_question *question, uint64_t now,
		 struct failure *why)
{
	struct address address;
	char text[ADDRESS_TEXT];
	int err = check(question, why);
	if (err)
		return err;
	uint16_t port = (uint16_t)question->port;
	bool is_address = address__parse(question->host, &address) == 0;
	struct egress_verdict verdict = is_address ? egress__to_address(egress, question->protocol, &address, port, now)
						   : egress__to_name(egress, question->protocol, question->host, port);
	bool otherwise = verdict.rule == policy__otherwise(egress->policy);
	writer__bool(out, "allowed", !verdict.why);
	writer__text(out, "by", !verdict.rule ? "place" : otherwise ? "otherwise" : "rule");
	writer__bool(out, "question", verdict.question);
	if (verdict.why)
		writer__text(out, "why", verdict.why);
	if (verdict.why && verdict.rule && is_address && !address__equal(&verdict.about, &address))
		writer__text(out, "about", address__print(&verdict.about, text));
	if (verdict.rule && !otherwise) {
		writer__open(out, "rule");
		explain__add_rule(out, verdict.rule);
		writer__close(out);
	}
	return 0;
}
