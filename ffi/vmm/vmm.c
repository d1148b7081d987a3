/* The life of a VMM: builds the machine, runs the main loop, takes everything down again. */
#include "vmm/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/errno_name.h"
#include "net/config.h"
#include "os/process.h"
#include "virtio/console.h"
#include "virtio/vsock.h"
#include "vmm/control/requests.h"
#include "vmm/control/share_use.h"
#include "vmm/keeper/cleanup.h"
#include "vmm/keeper/trap.h"

#define DELIVER_MS 10000 /* for the starter to take what the guest sent before it ended */

/* The end */

static void turn(void *arg)
{
	(void)arg;
}

/* Take what the guest sent before it ended; what its device still holds gets its turn in between. */
static void deliver(struct vmm *vmm)
{
	size_t taken = 1;
	while (vmm->guest && taken && !control__congested(vmm->control)) {
		struct loop *worker = device_set__find(&vmm->built.devices, &device_vsock)->worker.loop;
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

static void machine_ended(struct machine *machine, enum machine_end end, const struct failure *why)
{
	struct vmm *vmm = machine->owner;
	uint64_t timer;
	if (vmm->state == VMM_ENDING)
		return;
	if (end == MACHINE_FAILED)
		vmm__say_failed(vmm, why);
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

static void expire(void *arg)
{
	vmm__end(arg, "expired");
}

/* Here, in the process that lives as long as the machine: who started it may have gone, and its guest may not obey. */
static int limit_life(struct vmm *vmm)
{
	uint64_t timer;
	return vmm->config->ttl ? loop__timer(vmm->loop, vmm->config->ttl, expire, vmm, &timer) : 0;
}

/* Somebody has it now. Its guest ends in order; one that does not hear of it is ended. */
static void begin(struct vmm *vmm)
{
	if (!vmm->waits)
		return;
	vmm->waits = false;
	if (limit_life(vmm) < 0)
		vmm__end(vmm, "expired");
	if (vmm->guest)
		guest_stream__say(vmm->guest, "b", 1);
}

static void on_signal(void *arg, int fd, unsigned ready)
{
	struct vmm *vmm = arg;
	(void)ready;
	const struct told told = told_signals__take(fd);
	if (told.begin)
		begin(vmm);
	if (told.end) {
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
		vmm__say_failed(vmm, &why);
	vmm__end(vmm, "failed");
	loop__stop(vmm->loop);
}

/* The start */

static int watch_signals(struct vmm *vmm, struct failure *why)
{
	vmm->signals = told_signals__open();
	if (vmm->signals < 0 || loop__add(vmm->loop, vmm->signals, LOOP_READ, on_signal, vmm) < 0 ||
	    loop__add(vmm->loop, vmm->keeper->link, LOOP_READ, on_keeper_gone, vmm) < 0)
		return failure__set(why, EIO, NULL, "signals cannot be watched");
	return 0;
}

static bool has_console(const struct vmm_config *config)
{
	return *(const bool *)vmm_config__told(config, &device_console) || config->serial;
}

/* Everything that lives in the runtime directory: what of it this process opens or binds now it has by descriptor from
 * then on. Confined, it has the one directory in it where sockets come and go. */
static int fill_runtime_dir(struct vmm *vmm, struct failure *why)
{
	const struct vmm_config *config = vmm->config;
	const struct nat_options *net = vmm_config__told(config, &device_net);
	char path[CONFIG_MAX_RUNTIME_DIR + 16];
	int dir = open(config->runtime_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err = dir < 0 || (mkdirat(dir, VMM_DIR, 0700) < 0 && errno != EEXIST) ? -errno : 0;
	if (!err && has_console(config))
		err = log__new(dir, CONSOLE_LOG, LOG_LINES, config->log_limit, &vmm->console_log);
	if (!err && config->events_port)
		err = log__new(dir, EVENTS_LOG, LOG_FRAMES, config->log_limit, &vmm->events_log);
	if (!err && net->present)
		err = log__new(dir, NETWORK_LOG, LOG_LINES, config->log_limit, &vmm->network_log);
	if (dir >= 0)
		close(dir);
	snprintf(path, sizeof(path), "%s/control.sock", config->runtime_dir);
	if (!err)
		err = control__listen(vmm->control, path);
	if (!err && config->events_port)
		err = guest_stream__new(vmm->loop, vmm->built.own_dir, (uint32_t)config->events_port, vmm__guest_said,
					vmm, &vmm->guest);
	if (!err && config->clock_port)
		err = host_clock__new(vmm->loop, vmm->built.own_dir, (uint32_t)config->clock_port, &vmm->clock);
	return err ? failure__set(why, -err, NULL, "runtimeDir %s cannot be filled in (%s)", config->runtime_dir,
				  errno_name(-err))
		   : 0;
}

static int open_door(void *owner, enum door door, uint32_t number)
{
	return doors__open(&((struct vmm *)owner)->doors, door, number);
}

static int make_machine(struct vmm *vmm, struct failure *why)
{
	int console = -1;
	int err =
		has_console(vmm->config) ? console__new(vmm->loop, vmm__console_said, vmm, &vmm->console, &console) : 0;
	return err ? failure__set(why, -err, NULL, "no socket pair for the console")
		   : build__machine(&vmm->built, console, why);
}

static int start_machine(struct vmm *vmm, struct failure *why)
{
	int err = vmm->waits ? 0 : limit_life(vmm);
	if (err)
		return failure__set(why, -err, NULL, "no timer for the machine's end");
	err = device_set__start(&vmm->built.devices, vmm->built.machine.narrow, why);
	if (!err)
		err = vmm->built.engine->start(&vmm->built.machine, why);
	if (err)
		return err;
	if (vmm->built.machine.narrow)
		confine__narrow(CONFINE_MAIN, vmm->built.machine.child != 0);
	notice__confinement(vmm);
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", "started");
	writer__text(&out, "engine", vmm->config->engine);
	writer__uint(&out, "ns", monotonic_ns() - vmm->began);
	network__add_ports(&out, vmm->config);
	control__event(vmm->control, &out, false);
	if (vmm->state == VMM_STARTING)
		vmm->state = VMM_RUNNING;
	return 0;
}

static int start(struct vmm *vmm, struct failure *why)
{
	int err = watch_signals(vmm, why);
	if (!err)
		err = fill_runtime_dir(vmm, why);
	if (!err)
		err = build__open_files(&vmm->built, why);
	if (!err)
		err = make_machine(vmm, why);
	if (!err)
		keeper__made(vmm->keeper, vmm->built.machine.child);
	if (!err)
		err = trap__install() < 0 ? failure__set(why, EIO, NULL, "signals cannot be handled")
					  : build__confinement(&vmm->built, why);
	return err ? err : start_machine(vmm, why);
}

static void take_down(struct vmm *vmm)
{
	build__take_down(&vmm->built);
	if (vmm->console)
		console__drain(vmm->console); /* the guest's last words */
	if (vmm->guest)
		guest_stream__drain(vmm->guest);
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", "exited");
	writer__text(&out, "reason", vmm->reason);
	share_use__add(&out, &vmm->built.devices);
	device_set__end(&vmm->built.devices);
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
		.detached = config->detached,
		.waits = config->waits,
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
	const struct device_maker maker = {
		.open = open_door, .notice = network__notice, .watches = notice__watches, .owner = &vmm};
	build__begin(&vmm.built, config, &maker, vmm.loop, machine_ended);
	options.loop = vmm.loop;
	err = control__new(&options, &vmm.control);
	if (err) {
		loop__free(vmm.loop);
		return 1;
	}
	struct failure why;
	err = start(&vmm, &why);
	if (err) {
		vmm__say_failed(&vmm, &why);
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
