/* Requests about the network: which rules are in force, others, and what they would do. Each is done on the net
 * device's worker, whose rules they are. */
#include <errno.h>
#include <string.h>

#include "vmm/explain.h"
#include "vmm/requests.h"

#define SHOW_ROOM 4096 /* without the rules */
#define COUNTERS_ROOM 512

/* Run `work` on the worker; its result is in the caller's own. */
static int on_worker(struct answer *answer, loop_call_fn work, void *arg)
{
	const struct device_set *devices = &answer->vmm->devices;
	if (!devices->nat)
		return failure__set(&answer->why, ENODEV, NULL,
				    "this machine has no network of the host's; private ones have no rules");
	/* as with "listen": a worker that is held would hold this loop, and the resume, for good */
	if (answer->vmm->state == VMM_PAUSED)
		return failure__set(&answer->why, EBUSY, NULL,
				    "the machine is paused; its network can be asked once it is resumed");
	int err = loop__call(devices->net->worker.loop, work, arg);
	return err ? failure__set(&answer->why, -err, NULL, "the network is at its end") : 0;
}

struct show {
	const struct vmm *vmm;
	struct frame *frame;
	uint64_t id;
};

static void add_servers(struct frame *frame, const struct nat *nat)
{
	char text[NAME_SERVER_TEXT];
	const struct name_servers *servers = nat__servers(nat);
	frame__list(frame, "nameServers", servers->count);
	for (unsigned i = 0; i < servers->count; i++)
		frame__item_text(frame, name_server__print(&servers->at[i], text));
	frame__close(frame);
}

static void show(void *arg)
{
	const struct show *call = arg;
	struct frame *frame = call->frame;
	const struct policy *policy = nat__egress(call->vmm->devices.nat)->policy;
	unsigned count;
	const struct policy_rule *rules = policy__rules(policy, &count);
	size_t room = SHOW_ROOM;
	for (unsigned i = 0; i < count; i++)
		room += explain__rule_room(&rules[i]);
	frame__begin(frame, room);
	frame__uint(frame, "reply", call->id);
	frame__open(frame, "result");
	frame__list(frame, "rules", count);
	for (unsigned i = 0; i < count; i++) {
		frame__item(frame);
		explain__add_rule(frame, &rules[i]);
		frame__close(frame);
	}
	frame__close(frame);
	frame__bool(frame, "otherwise", policy__otherwise(policy)->allow);
	frame__bool(frame, "hostLoopback", call->vmm->config->net.host_loopback);
	add_servers(frame, call->vmm->devices.nat);
	network__add_ports(frame, &call->vmm->devices);
	frame__close(frame);
}

int network__do_show(struct answer *answer)
{
	struct frame frame;
	struct show call = {.vmm = answer->vmm, .frame = &frame, .id = answer->request->id};
	int err = on_worker(answer, show, &call);
	if (!err)
		control__reply(answer->to, &frame);
	return err;
}

struct count {
	const struct nat *nat;
	struct nat_counters result;
};

static void count(void *arg)
{
	struct count *call = arg;
	call->result = nat__counters(call->nat);
}

static void add_way(struct frame *frame, const char *key, const struct nat_way *way)
{
	frame__open(frame, key);
	frame__uint(frame, "packets", way->frames);
	frame__uint(frame, "bytes", way->bytes);
	frame__close(frame);
}

int network__do_counters(struct answer *answer)
{
	struct count call = {.nat = answer->vmm->devices.nat};
	int err = on_worker(answer, count, &call);
	if (err)
		return err;
	struct frame frame;
	frame__begin(&frame, COUNTERS_ROOM);
	frame__uint(&frame, "reply", answer->request->id);
	frame__open(&frame, "result");
	add_way(&frame, "fromGuest", &call.result.from_guest);
	add_way(&frame, "toGuest", &call.result.to_guest);
	frame__uint(&frame, "refused", call.result.refused);
	frame__uint(&frame, "connections", call.result.connections);
	frame__uint(&frame, "maxConnections", call.result.max_connections);
	frame__close(&frame);
	control__reply(answer->to, &frame);
	return 0;
}

struct replacement {
	struct nat *nat;
	const struct control_request *request;
	int result;
};

static void replace(void *arg)
{
	struct replacement *call = arg;
	const struct config_rules *rules = &call->request->rules;
	call->result = nat__replace_rules(call->nat, rules->at, rules->count, call->request->otherwise);
}

int network__do_rules(struct answer *answer)
{
	if (!answer->request->rules.at)
		return failure__set(&answer->why, EINVAL, NULL, "\"rules\" needs rules, a list, and otherwise");
	struct replacement call = {.nat = answer->vmm->devices.nat, .request = answer->request};
	int err = on_worker(answer, replace, &call);
	if (err)
		return err;
	if (call.result)
		return failure__set(&answer->why, -call.result, NULL, "the rules cannot be kept; the old ones hold");
	answer__succeed(answer);
	return 0;
}

struct explanation {
	struct answer *answer;
	struct frame frame;
	int result;
};

static void explain(void *arg)
{
	struct explanation *call = arg;
	const struct control_request *request = call->answer->request;
	const struct explain_question question = {
		.host = request->host, .protocol = request->protocol, .port = request->port};
	frame__begin(&call->frame, EXPLAIN_ROOM);
	frame__uint(&call->frame, "reply", request->id);
	frame__open(&call->frame, "result");
	call->result = explain__add(&call->frame, nat__egress(call->answer->vmm->devices.nat), &question,
				    monotonic_ns() / 1000000, &call->answer->why);
	frame__close(&call->frame);
}

int network__do_explain(struct answer *answer)
{
	struct explanation call = {.answer = answer};
	int err = on_worker(answer, explain, &call);
	if (err)
		return err;
	if (call.result)
		frame__drop(&call.frame);
	else
		control__reply(answer->to, &call.frame);
	return call.result;
}
