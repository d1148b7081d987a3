/* Network rules in words: the verdict and whose it is. */
#include "vmm/explain.h"

#include <errno.h>
#include <string.h>

#define RULE_ROOM 192 /* a rule without its texts */

size_t explain__rule_room(const struct policy_rule *rule)
{
	return RULE_ROOM + (rule->name ? strlen(rule->name) : 0) + (rule->why ? strlen(rule->why) : 0) +
	       (rule->text ? strlen(rule->text) : 0);
}

void explain__add_rule(struct frame *frame, const struct policy_rule *rule)
{
	static const char *const protocols[] = {[POLICY_TCP] = "tcp", [POLICY_UDP] = "udp", [POLICY_ICMP] = "icmp"};
	char network[NETWORK_TEXT];
	frame__bool(frame, "allow", rule->allow);
	if (rule->log)
		frame__bool(frame, "log", true);
	if (rule->own)
		frame__bool(frame, "own", true);
	if (rule->name)
		frame__text(frame, "name", rule->name);
	else
		frame__text(frame, "network", network__print(&rule->network, network));
	if (rule->protocol != POLICY_ANY)
		frame__text(frame, "protocol", protocols[rule->protocol]);
	frame__uint(frame, "firstPort", rule->first_port);
	frame__uint(frame, "lastPort", rule->last_port);
	if (rule->why)
		frame__text(frame, "why", rule->why);
	if (rule->text)
		frame__text(frame, "text", rule->text);
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

int explain__add(struct frame *frame, const struct egress *egress, const struct explain_question *question,
		 uint64_t now, struct failure *why)
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
	frame__bool(frame, "allowed", !verdict.why);
	frame__text(frame, "by", !verdict.rule ? "place" : otherwise ? "otherwise" : "rule");
	frame__bool(frame, "question", verdict.question);
	if (verdict.why)
		frame__text(frame, "why", verdict.why);
	if (verdict.why && verdict.rule && is_address && !address__equal(&verdict.about, &address))
		frame__text(frame, "about", address__print(&verdict.about, text));
	if (verdict.rule && !otherwise) {
		frame__open(frame, "rule");
		explain__add_rule(frame, verdict.rule);
		frame__close(frame);
	}
	return 0;
}
