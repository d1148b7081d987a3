/* What the requests of the control channel do; ffi/vmm.cddl lists them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "virtio/vsock.h"
#include "vmm/control/requests.h"
#include "vmm/control/share_use.h"
#include "vmm/keeper/cleanup.h"

static int do_stop(struct answer *answer)
{
	answer__succeed(answer);
	vmm__end(answer->vmm, "stopped");
	return 0;
}

static int do_detach(struct answer *answer)
{
	answer->vmm->detached = true;
	keeper__detach(answer->vmm->keeper);
	stdio__detach();
	answer__succeed(answer);
	return 0;
}

struct listen_call {
	struct virtio_device *dev;
	uint32_t port;
	int result;
};

static void listen_on_worker(void *arg)
{
	struct listen_call *call = arg;
	call->result = vsock__listen(call->dev, call->port);
}

static int do_listen(struct answer *answer)
{
	const struct device_slot *slot = device_set__find(&answer->vmm->built.devices, &device_vsock);
	uint64_t port = answer->request->port;
	if (!port)
		return failure__set(&answer->why, EINVAL, NULL, "\"listen\" needs a port from 1 to 4294967294");
	/* the device's worker may be held: waiting for it would hold this loop, and the resume, for good */
	if (answer->vmm->state == VMM_PAUSED)
		return failure__set(&answer->why, EBUSY, NULL,
				    "the machine is paused; a vsock port can be opened once it is resumed");
	if (!slot)
		return failure__set(&answer->why, ENODEV, NULL, "this machine has no vsock device");
	struct listen_call call = {.dev = slot->dev, .port = (uint32_t)port};
	int err = loop__call(slot->worker.loop, listen_on_worker, &call);
	err = err ? err : call.result;
	if (err && err != -EEXIST)
		return failure__set(&answer->why, -err, NULL, "no Unix socket can be made for vsock port %llu",
				    (unsigned long long)port);
	answer__succeed(answer);
	return 0;
}

static const char *state_name(enum vmm_state state)
{
	static const char *const names[] = {[VMM_STARTING] = "starting",
					    [VMM_RUNNING] = "running",
					    [VMM_PAUSED] = "paused",
					    [VMM_ENDING] = "ending"};
	return names[state];
}

static void add_process(struct writer *out, const char *name, const struct confine_report *report,
			unsigned long long held)
{
	char limits[192];
	if (!report->layers[0].name) /* not confined yet, or no such process */
		return;
	snprintf(limits, sizeof(limits), held ? "%s; by a cgroup, %llu MiB with the others and the guest" : "%s",
		 report->layers[CONFINE_LIMITS].detail, held >> 20);
	writer__open(out, name);
	for (unsigned i = 0; i < CONFINE_LAYERS; i++) {
		writer__open(out, report->layers[i].name);
		writer__bool(out, "applied", report->layers[i].applied);
		writer__text(out, "detail", i == CONFINE_LIMITS ? limits : report->layers[i].detail);
		writer__close(out);
	}
	writer__close(out);
}

static void add_confinement(struct writer *out, const struct vmm *vmm)
{
	const unsigned long long held = atomic_load(&vmm->keeper->shared->held);
	writer__open(out, "confinement");
	add_process(out, "capsa-vmm", &vmm->built.confinement, held);
	add_process(out, "qemu", &vmm->built.machine.child_confinement, held);
	writer__close(out);
}

static void add_traffic(struct writer *out, const struct device_set *devices)
{
	static const char *const kinds[] = {"fs", "net"};
	struct virtio_traffic sum;
	writer__open(out, "traffic");
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!device_set__traffic(devices, kinds[i], &sum))
			continue;
		writer__open(out, kinds[i]);
		writer__uint(out, "fromGuest", sum.from_guest);
		writer__uint(out, "toGuest", sum.to_guest);
		if (i == 0)
			writer__uint(out, "requests", sum.requests);
		writer__close(out);
	}
	writer__close(out);
}

static int do_status(struct answer *answer)
{
	const struct vmm *vmm = answer->vmm;
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__uint(&out, "reply", answer->request->id);
	writer__open(&out, "result");
	writer__text(&out, "name", vmm->config->name);
	writer__text(&out, "engine", vmm->config->engine);
	writer__text(&out, "state", state_name(vmm->state));
	writer__uint(&out, "uptimeNs", monotonic_ns() - vmm->began);
	writer__uint(&out, "cpus", vmm->config->cpus);
	writer__uint(&out, "memory", vmm->config->memory);
	writer__bool(&out, "detached", vmm->detached);
	writer__uint(&out, "eventsLog", log__size(vmm->events_log));
	writer__open(&out, "pids");
	writer__uint(&out, "keeper", (uint64_t)vmm->keeper->pid);
	writer__uint(&out, "vmm", (uint64_t)getpid());
	if (vmm->built.machine.child)
		writer__uint(&out, "engine", (uint64_t)vmm->built.machine.child);
	writer__close(&out);
	add_confinement(&out, vmm);
	add_traffic(&out, &vmm->built.devices);
	share_use__add(&out, &vmm->built.devices);
	writer__close(&out);
	channel__reply(answer->to, &out);
	if (answer->request->follow)
		channel__follow(answer->to);
	return 0;
}

/* Whoever asked for it: all should know. */
static void become(struct vmm *vmm, enum vmm_state state, const char *event)
{
	struct buffer frame = {.data = NULL};
	if (vmm->state == state)
		return;
	vmm->state = state;
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", event);
	control__event(vmm->control, &out, false);
}

static int do_pause(struct answer *answer)
{
	struct vmm *vmm = answer->vmm;
	if (vmm->state != VMM_RUNNING && vmm->state != VMM_PAUSED)
		return failure__set(&answer->why, EBUSY, NULL, "the machine is %s", state_name(vmm->state));
	int err = vmm->state == VMM_RUNNING ? vmm->built.engine->pause(&vmm->built.machine) : 0;
	if (err)
		return failure__set(&answer->why, -err, NULL, "the machine cannot be paused");
	become(vmm, VMM_PAUSED, "paused");
	answer__succeed(answer);
	return 0;
}

static int do_resume(struct answer *answer)
{
	struct vmm *vmm = answer->vmm;
	if (vmm->state != VMM_RUNNING && vmm->state != VMM_PAUSED)
		return failure__set(&answer->why, EBUSY, NULL, "the machine is %s", state_name(vmm->state));
	int err = 0;
	if (vmm->state == VMM_PAUSED) {
		host_clock__stood(vmm->clock); /* before anything else that its guest hears */
		err = vmm->built.engine->resume(&vmm->built.machine);
	}
	if (err)
		return failure__set(&answer->why, -err, NULL, "the machine cannot be resumed");
	become(vmm, VMM_RUNNING, "resumed");
	answer__succeed(answer);
	return 0;
}

static int do_console(struct answer *answer)
{
	const struct span *data = &answer->request->data;
	if (!answer->vmm->console)
		return failure__set(&answer->why, ENODEV, NULL, "this machine has no console");
	if (!data->at)
		return failure__set(&answer->why, EINVAL, NULL, "\"console\" needs data, a byte string");
	int err = console__write(answer->vmm->console, data->at, data->length);
	if (err == -EAGAIN)
		return failure__set(&answer->why, EAGAIN, NULL,
				    "the guest is not reading its console: more than 64 KiB would wait for it");
	if (err)
		return failure__set(&answer->why, -err, NULL, "the console is closed");
	answer__succeed(answer);
	return 0;
}

void vmm__request(void *owner, struct control_channel *from, const struct control_request *request)
{
	static const struct {
		const char *op;
		int (*handle)(struct answer *answer);
	} handlers[] = {
		{"stop", do_stop},
		{"detach", do_detach},
		{"listen", do_listen},
		{"status", do_status},
		{"pause", do_pause},
		{"resume", do_resume},
		{"console", do_console},
		{"hold-shares", share_hold__do},
		{"memory", memory__do},
		{"network", network__do_show},
		{"counters", network__do_counters},
		{"rules", network__do_rules},
		{"explain", network__do_explain},
	};
	struct answer answer = {.vmm = owner, .to = from, .request = request};
	int err = failure__set(&answer.why, ENOSYS, NULL, "there is no request \"%.40s\"", request->op);
	for (unsigned i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (strcmp(handlers[i].op, request->op) == 0)
			err = handlers[i].handle(&answer);
	if (!err)
		return;
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__uint(&out, "reply", request->id);
	writer__failure(&out, "error", answer.why.code, answer.why.message);
	channel__reply(from, &out);
}
