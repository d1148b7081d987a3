/* The life of a VMM: builds the machine, runs the main loop, takes everything down again. */
#include "vmm/vmm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "os/process.h"
#include "vmm/control/share_use.h"
#include "vmm/keeper/trap.h"

#define DELIVER_MS 10000 /* for the starter to take what the guest sent before it ended */

/* Events */

static void say_failed(struct vmm *vmm, const struct failure *why)
{
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", "failed");
	writer__text(&out, "code", why->code);
	writer__text(&out, "message", why->message);
	control__event(vmm->control, &out, false);
}

static void say_data(struct vmm *vmm, const char *event, const void *data, size_t len, bool keep_up)
{
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", event);
	writer__bytes(&out, "data", data, len);
	control__event(vmm->control, &out, keep_up);
}

void vmm__guest_said(void *arg, const void *data, size_t len)
{
	struct vmm *vmm = arg;
	log__append(vmm->events_log, data, len);
	say_data(vmm, "guest", data, len, false);
	if (control__congested(vmm->control))
		guest_stream__pause(vmm->guest);
}

/* A console that waited for its reader would hold up the guest's kernel: who is behind misses output, the log has it.
 */
void vmm__console_said(void *arg, const void *data, size_t len)
{
	struct vmm *vmm = arg;
	log__append(vmm->console_log, data, len);
	say_data(vmm, "console", data, len, true);
}

/* The end */

void vmm__end(struct vmm *vmm, const char *reason)
{
	if (vmm->state == VMM_ENDING)
		return;
	vmm->state = VMM_ENDING;
	vmm->reason = reason;
	loop__stop(vmm->loop);
}

static void turn(void *arg)
{
	(void)arg;
}

/* Take what the guest sent before it ended; what its device still holds gets its turn in between. */
static void deliver(struct vmm *vmm)
{
	size_t taken = 1;
	while (vmm->guest && taken && !control__congested(vmm->control)) {
		struct loop *worker = vmm->devices.vsock->worker.loop;
		if (loop__call(worker, turn, NULL) < 0 || loop__call(worker, turn, NULL) < 0)
			break;
		taken = guest_stream__drain(vmm->guest);
	}
	if (!control__congested(vmm->control))
		loop__stop(vmm->loop);
}

static void give_up_delivery(void *arg)
{
	loop__stop(((struct vmm *)arg)->loop);
}

void vmm__machine_ended(struct machine *machine, enum machine_end end, const struct failure *why)
{
	struct vmm *vmm = machine->owner;
	uint64_t timer;
	if (vmm->state == VMM_ENDING)
		return;
	if (end == MACHINE_FAILED)
		say_failed(vmm, why);
	vmm->state = VMM_ENDING;
	vmm->reason = end == MACHINE_FAILED ? "failed" : "shutdown";
	if (loop__timer(vmm->loop, DELIVER_MS, give_up_delivery, vmm, &timer) < 0)
		loop__stop(vmm->loop);
	deliver(vmm);
}

static void on_drained(void *owner)
{
	struct vmm *vmm = owner;
	if (vmm->guest)
		guest_stream__resume(vmm->guest);
	if (vmm->state == VMM_ENDING)
		deliver(vmm);
}

static void on_starter_gone(void *owner)
{
	struct vmm *vmm = owner;
	if (vmm->detached)
		on_drained(vmm);
	else if (vmm->state == VMM_ENDING)
		loop__stop(vmm->loop);
	else
		vmm__end(vmm, "stopped");
}

static void on_closed(void *owner, const struct control_channel *channel)
{
	share_hold__closed(owner, channel);
}

static void on_signal(void *arg, int fd, unsigned ready)
{
	struct vmm *vmm = arg;
	(void)ready;
	if (end_signals__take(fd)) {
		vmm__end(vmm, "stopped");
		loop__stop(vmm->loop);
	}
}

static void on_keeper_gone(void *arg, int fd, unsigned ready)
{
	struct vmm *vmm = arg;
	struct failure why;
	(void)ready;
	loop__del(vmm->loop, fd);
	(void)!failure__set(&why, EIO, "VMM_DIED", "the sandbox's keeper process was killed; the sandbox ends with it");
	if (vmm->state != VMM_ENDING)
		say_failed(vmm, &why);
	vmm__end(vmm, "failed");
	loop__stop(vmm->loop);
}

/* The start */

static int watch_signals(struct vmm *vmm, struct failure *why)
{
	vmm->signals = end_signals__open();
	if (vmm->signals < 0 || loop__add(vmm->loop, vmm->signals, LOOP_READ, on_signal, vmm) < 0 ||
	    loop__add(vmm->loop, vmm->keeper->link, LOOP_READ, on_keeper_gone, vmm) < 0)
		return failure__set(why, EIO, NULL, "signals cannot be watched");
	return 0;
}

static void expire(void *arg)
{
	vmm__end(arg, "expired");
}

/* Here, in the process that lives as long as the machine: who started it may have gone, and its guest may not obey. */
static int limit_life(struct vmm *vmm, struct failure *why)
{
	uint64_t timer;
	int err = vmm->config->ttl ? loop__timer(vmm->loop, vmm->config->ttl, expire, vmm, &timer) : 0;
	return err ? failure__set(why, -err, NULL, "no timer for the machine's end") : 0;
}

static int start_machine(struct vmm *vmm, struct failure *why)
{
	int err = limit_life(vmm, why);
	if (!err)
		err = device_set__start(&vmm->devices, vmm->machine.narrow, why);
	if (!err)
		err = vmm->engine->start(&vmm->machine, why);
	if (err)
		return err;
	if (vmm->machine.narrow)
		confine__narrow(CONFINE_MAIN, vmm->machine.child != 0);
	notice__confinement(vmm);
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", "started");
	writer__text(&out, "engine", vmm->config->engine);
	writer__uint(&out, "ns", monotonic_ns() - vmm->began);
	network__add_ports(&out, &vmm->devices);
	control__event(vmm->control, &out, false);
	if (vmm->state == VMM_STARTING)
		vmm->state = VMM_RUNNING;
	return 0;
}

static int start(struct vmm *vmm, struct failure *why)
{
	int err = watch_signals(vmm, why);
	if (!err)
		err = build__runtime(vmm, why);
	if (!err)
		err = build__open_files(vmm, why);
	if (!err)
		err = build__machine(vmm, why);
	if (!err)
		keeper__made(vmm->keeper, vmm->machine.child);
	if (!err)
		err = trap__install() < 0 ? failure__set(why, EIO, NULL, "signals cannot be handled")
					  : build__confinement(vmm, why);
	return err ? err : start_machine(vmm, why);
}

static void take_down(struct vmm *vmm)
{
	build__close_files(vmm);
	if (vmm->created)
		vmm->engine->destroy(&vmm->machine);
	if (vmm->console)
		console__drain(vmm->console); /* the guest's last words */
	if (vmm->guest)
		guest_stream__drain(vmm->guest);
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", "exited");
	writer__text(&out, "reason", vmm->reason);
	share_use__add(&out, &vmm->devices);
	device_set__end(&vmm->devices);
	guest_stream__free(vmm->guest);
	host_clock__free(vmm->clock);
	console__free(vmm->console);
	log__free(vmm->network_log);
	log__free(vmm->events_log);
	log__free(vmm->console_log);
	keeper__clean(vmm->keeper);
	control__finish(vmm->control, &out, DELIVER_MS);
	control__free(vmm->control);
	if (vmm->signals >= 0)
		close(vmm->signals);
	loop__free(vmm->loop);
}

int vmm__run(const struct vmm_config *config, const struct keeper *keeper, uint64_t began)
{
	static const struct control_ops control_ops = {
		.request = vmm__request, .starter_gone = on_starter_gone, .closed = on_closed, .drained = on_drained};
	struct vmm vmm = {
		.config = config,
		.keeper = keeper,
		.began = began,
		.signals = -1,
		.kernel = -1,
		.initrd = -1,
		.detached = config->detached,
		.doors = {.fd = keeper->doors, .lock = PTHREAD_MUTEX_INITIALIZER},
	};
	struct control_options options = {.starter = keeper->control,
					  .unfinished = &keeper->shared->unfinished,
					  .ops = &control_ops,
					  .owner = &vmm};
	process__name("capsa-vmm");
	int err = loop__new(&vmm.loop);
	if (err)
		return 1;
	options.loop = vmm.loop;
	err = control__new(&options, &vmm.control);
	if (err) {
		loop__free(vmm.loop);
		return 1;
	}
	struct failure why;
	err = start(&vmm, &why);
	if (err) {
		say_failed(&vmm, &why);
		vmm.reason = "failed";
		vmm.state = VMM_ENDING;
	} else {
		loop__run(vmm.loop);
	}
	bool failed = !vmm.reason || strcmp(vmm.reason, "failed") == 0;
	if (!vmm.reason)
		vmm.reason = "failed";
	take_down(&vmm);
	return failed;
}
