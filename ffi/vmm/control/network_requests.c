/* Requests about the network: which rules are in force, others, and what they would do. Each is done on the net
 * device's worker, whose rules they are. */
#include <errno.h>
#include <string.h>

#include "net/config.h"
#include "net/explain.h"
#include "vmm/control/requests.h"

/* NULL: this machine has no network of the host's. */
static struct nat *behind(struct vmm *vmm)
{
	const struct device_slot *slot = device_set__find(&vmm->built.devices, &device_net);
	return slot ? nat__behind(slot->dev) : NULL;
}

/* Run `work` on the worker; its result is in the caller's own. */
static int on_worker(struct answer *answer, loop_call_fn work, void *arg)
{
	const struct device_slot *slot = device_set__find(&answer->vmm->built.devices, &device_net);
	if (!slot)
		return failure__set(&answer->why, ENODEV, NULL,
				    "this machine has no network of the host's; private ones have no rules");
	/* as with "listen": a worker that is held would hold this loop, and the resume, for good */
	if (answer->vmm->state == VMM_PAUSED)
		return failure__set(&answer->why, EBUSY, NULL,
				    "the machine is paused; its network can be asked once it is resumed");
	int err = loop__call(slot->worker.loop, work, arg);
	return err ? failure__set(&answer->why, -err, NULL, "the network is at its end") : 0;
}

struct show {
	struct vmm *vmm;
	struct writer *out;
	uint64_t id;
};

static void add_servers(struct writer *out, const struct nat *nat)
{
	char text[NAME_SERVER_TEXT];
	const struct name_servers *servers = nat__servers(nat);
	writer__list(out, "nameServers", servers->count);
	for (unsigned i = 0; i < servers->count; i++)
		writer__text(out, NULL, name_server__print(&servers->at[i], text));
}

static void show(void *arg)
{
	const struct show *call = arg;
	struct writer *out = call->out;
	const struct policy *policy = nat__egress(behind(call->vmm))->policy;
	unsigned count;
	const struct policy_rule *rules = policy__rules(policy, &count);
	writer__uint(out, "reply", call->id);
	writer__open(out, "result");
	writer__list(out, "rules", count);
	for (unsigned i = 0; i < count; i++) {
		writer__open(out, NULL);
		explain__add_rule(out, &rules[i]);
		writer__close(out);
	}
	writer__bool(out, "otherwise", policy__otherwise(policy)->allow);
	writer__bool(out, "hostLoopback",
		     ((const struct nat_options *)vmm_config__told(call->vmm->config, &device_net))->host_loopback);
	add_servers(out, behind(call->vmm));
	network__add_ports(out, call->vmm->config);
	writer__close(out);
}

int network__do_show(struct answer *answer)
{
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	struct show call = {.vmm = answer->vmm, .out = &out, .id = answer->request->id};
	int err = on_worker(answer, show, &call);
	if (err)
		buffer__free(&frame);
	else
		channel__reply(answer->to, &out);
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

static void add_way(struct writer *out, const char *key, const struct nat_way *way)
{
	writer__open(out, key);
	writer__uint(out, "packets", way->frames);
	writer__uint(out, "bytes", way->bytes);
	writer__close(out);
}

int network__do_counters(struct answer *answer)
{
	struct count call = {.nat = behind(answer->vmm)};
	int err = on_worker(answer, count, &call);
	if (err)
		return err;
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__uint(&out, "reply", answer->request->id);
	writer__open(&out, "result");
	add_way(&out, "fromGuest", &call.result.from_guest);
	add_way(&out, "toGuest", &call.result.to_guest);
	writer__uint(&out, "refused", call.result.refused);
	writer__uint(&out, "connections", call.result.connections);
	writer__uint(&out, "maxConnections", call.result.max_connections);
	writer__close(&out);
	channel__reply(answer->to, &out);
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
	const struct control_request *request = call->request;
	call->result = nat__replace_rules(call->nat, request->rules.at, request->rules.count, request->otherwise);
}

int network__do_rules(struct answer *answer)
{
	if (!answer->request->rules.at)
		return failure__set(&answer->why, EINVAL, NULL, "\"rules\" needs rules, a list, and otherwise");
	struct replacement call = {.nat = behind(answer->vmm), .request = answer->request};
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
	struct buffer frame;
	struct writer out;
	int result;
};

static void explain(void *arg)
{
	struct explanation *call = arg;
	const struct control_request *request = call->answer->request;
	const struct explain_question question = {
		.host = request->host, .protocol = request->protocol, .port = request->port};
	struct writer *out = &call->out;
	*out = frame__begin(&call->frame);
	writer__uint(out, "reply", request->id);
	writer__open(out, "result");
	call->result = explain__add(out, nat__egress(behind(call->answer->vmm)), &question, monotonic_ns() / 1000000,
				    &call->answer->why);
	writer__close(out);
}

int network__do_explain(struct answer *answer)
{
	struct explanation call = {.answer = answer};
	int err = on_worker(answer, explain, &call);
	if (err)
		return err;
	if (call.result)
		buffer__free(&call.frame);
	else
		channel__reply(answer->to, &call.out);
	return call.result;
}
