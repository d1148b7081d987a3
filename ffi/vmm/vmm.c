/* The life of a VMM: builds the machine, runs the main loop, takes everything down again. */
#include "vmm/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/cleanup.h"

#define DELIVER_MS 10000 /* for the starter to take what the guest sent before it ended */

uint64_t monotonic_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* Events */

static void say_failed(struct vmm *vmm, const struct failure *why)
{
	struct frame frame;
	frame__begin(&frame, sizeof(*why) + 64);
	frame__text(&frame, "event", "failed");
	frame__failure(&frame, why);
	control__event(vmm->control, &frame, false);
}

static void say_data(struct vmm *vmm, const char *event, const void *data, size_t len, bool keep_up)
{
	struct frame frame;
	frame__begin(&frame, len + 64);
	frame__text(&frame, "event", event);
	frame__bytes(&frame, "data", data, len);
	control__event(vmm->control, &frame, keep_up);
}

static void on_guest(void *arg, const void *data, size_t len)
{
	struct vmm *vmm = arg;
	log__append(vmm->events_log, data, len);
	say_data(vmm, "guest", data, len, false);
	if (control__congested(vmm->control))
		guest_stream__pause(vmm->guest);
}

/* A console that waited for its reader would hold up the guest's kernel: who is behind misses output, the log has it.
 */
static void on_console(void *arg, const void *data, size_t len)
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

static void on_machine_ended(struct machine *machine, enum machine_end end, const struct failure *why)
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

static void on_signal(void *arg, int fd, unsigned ready)
{
	struct vmm *vmm = arg;
	struct signalfd_siginfo info;
	(void)ready;
	if (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
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
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	vmm->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vmm->signals < 0 || loop__add(vmm->loop, vmm->signals, LOOP_READ, on_signal, vmm) < 0 ||
	    loop__add(vmm->loop, vmm->keeper->link, LOOP_READ, on_keeper_gone, vmm) < 0)
		return failure__set(why, EIO, NULL, "signals cannot be watched");
	return 0;
}

/* Everything that lives in the runtime directory. */
static int prepare_runtime(struct vmm *vmm, struct failure *why)
{
	const struct vmm_config *config = vmm->config;
	char path[CONFIG_MAX_RUNTIME_DIR + 16];
	int dir = open(config->runtime_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err = dir < 0 || (mkdirat(dir, "vsock", 0700) < 0 && errno != EEXIST) ? -errno : 0;
	if (!err && config->console)
		err = log__new(dir, CONSOLE_LOG, LOG_LINES, config->log_limit, &vmm->console_log);
	if (!err && config->events_port)
		err = log__new(dir, EVENTS_LOG, LOG_FRAMES, config->log_limit, &vmm->events_log);
	if (dir >= 0)
		close(dir);
	snprintf(path, sizeof(path), "%s/control.sock", config->runtime_dir);
	snprintf(vmm->vsock_dir, sizeof(vmm->vsock_dir), "%s/vsock", config->runtime_dir);
	if (!err)
		err = control__listen(vmm->control, path);
	if (!err && config->events_port)
		err = guest_stream__new(vmm->loop, vmm->vsock_dir, (uint32_t)config->events_port, on_guest, vmm,
					&vmm->guest);
	return err ? failure__set(why, -err, NULL, "runtimeDir %s cannot be filled in (%s)", config->runtime_dir,
				  failure__errno_name(-err))
		   : 0;
}

static int file_size(const char *path, const char *what, const char *mend, uint64_t *size, struct failure *why)
{
	struct stat st;
	int error = 0;
	if (!path)
		return 0;
	if (stat(path, &st) < 0 || access(path, R_OK) < 0)
		error = errno;
	else if (!S_ISREG(st.st_mode))
		error = EINVAL;
	if (error)
		return failure__set(why, error, NULL, "the %s %s cannot be read (%s)%s", what, path,
				    error == EINVAL ? "not a file" : failure__errno_name(error), mend);
	*size = (uint64_t)st.st_size;
	return 0;
}

static int check_kernel(const char *path, struct failure *why)
{
	unsigned char head[0x206] = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof(head));
	if (fd >= 0)
		close(fd);
	if (n >= 0 && (memcmp(head, "\177ELF", 4) == 0 || memcmp(head + 0x202, "HdrS", 4) == 0))
		return 0;
	return failure__set(why, ENOEXEC, "KERNEL_INVALID",
			    "%s is not a usable kernel: it is neither an ELF vmlinux nor a bzImage", path);
}

/* A guest that runs out of memory while it unpacks its initrd dies without a word: say so before. */
static int check_files(const struct vmm_config *config, struct failure *why)
{
	uint64_t kernel = 0, initrd = 0;
	int err = file_size(config->kernel, "kernel", "; `capsa kernel build` makes capsa's own", &kernel, why);
	if (!err)
		err = file_size(config->initrd, "initrd", "", &initrd, why);
	if (err)
		return err;
	err = check_kernel(config->kernel, why);
	if (err)
		return err;
	uint64_t least = kernel + 2 * initrd + (16U << 20);
	if (config->memory < least)
		return failure__set(
			why, ENOMEM, "MEMORY_TOO_SMALL",
			"%llu MiB of memory are too little for this kernel (%llu MiB) and initrd (%llu MiB, "
			"held twice while it is unpacked): give the machine %llu MiB or more",
			(unsigned long long)config->memory >> 20, (unsigned long long)(kernel >> 20) + 1,
			(unsigned long long)(initrd >> 20) + 1, (unsigned long long)(least >> 20) + 1);
	return 0;
}

static int make_machine(struct vmm *vmm, struct failure *why)
{
	const struct vmm_config *config = vmm->config;
	char names[64];
	vmm->engine = engine__find(config->engine, names, sizeof(names));
	if (!vmm->engine)
		return failure__set(why, EINVAL, "CONFIG_INVALID",
				    "engine \"%.40s\" is not in this build, which has %s", config->engine, names);
	int console_fd = -1;
	int err = config->console ? console__new(vmm->loop, on_console, vmm, &vmm->console, &console_fd) : 0;
	if (err)
		return failure__set(why, -err, NULL, "no socket pair for the console");
	bool by_engine = vmm->engine->carries_console;
	err = device_set__build(&vmm->devices, config, vmm->vsock_dir, by_engine ? -1 : console_fd,
				!vmm->engine->maps_on_workers, why);
	if (err) {
		if (by_engine && console_fd >= 0)
			close(console_fd);
		return err;
	}
	vmm->machine_config = (struct machine_config){
		.name = config->name,
		.kernel = config->kernel,
		.initrd = config->initrd,
		.cmdline = config->cmdline,
		.runtime_dir = config->runtime_dir,
		.qemu = config->qemu,
		.cpus = (unsigned)config->cpus,
		.memory = config->memory,
	};
	vmm->machine = (struct machine){
		.config = &vmm->machine_config,
		.loop = vmm->loop,
		.device_count = vmm->devices.count,
		.console_fd = by_engine ? console_fd : -1,
		.ended = on_machine_ended,
		.owner = vmm,
	};
	for (unsigned i = 0; i < vmm->devices.count; i++)
		vmm->machine.devices[i] = (struct machine_device){.dev = vmm->devices.slots[i].dev,
								  .loop = vmm->devices.slots[i].worker.loop};
	err = vmm->engine->create(&vmm->machine, why);
	vmm->created = err == 0;
	return err;
}

static int confine(struct vmm *vmm, struct failure *why)
{
	const struct vmm_config *config = vmm->config;
	struct confine_request request = {
		.mode = strcmp(config->confine, "none") == 0      ? CONFINE_NONE
			: strcmp(config->confine, "require") == 0 ? CONFINE_REQUIRE
								  : CONFINE_AUTO,
		.runtime_dir = config->runtime_dir,
		.archive = config->archive,
		.child = vmm->machine.child,
	};
	for (unsigned i = 0; i < config->fs_count; i++)
		request.share_count += config->fs[i].root_count;
	struct confine_share *shares = calloc(request.share_count + 1, sizeof(*shares));
	if (!shares)
		return failure__set(why, ENOMEM, NULL, "no memory to confine the VMM with");
	unsigned count = 0;
	for (unsigned i = 0; i < config->fs_count; i++) {
		for (unsigned j = 0; j < config->fs[i].root_count; j++) {
			const struct config_root *root = &config->fs[i].roots[j];
			shares[count++] = (struct confine_share){.path = root->path, .read_only = root->read_only};
			request.foreign_owners = request.foreign_owners || root->ownership == FS_OWNER_PASSTHROUGH ||
						 root->ownership == FS_OWNER_MAP;
		}
	}
	request.shares = shares;
	int err = confine__apply(&request, &vmm->confinement, why);
	free(shares);
	return err;
}

static int start_machine(struct vmm *vmm, struct failure *why)
{
	int err = device_set__start(&vmm->devices, why);
	if (!err)
		err = vmm->engine->start(&vmm->machine, why);
	if (err)
		return err;
	struct frame frame;
	frame__begin(&frame, 128);
	frame__text(&frame, "event", "started");
	frame__text(&frame, "engine", vmm->config->engine);
	frame__uint(&frame, "ns", monotonic_ns() - vmm->began);
	control__event(vmm->control, &frame, false);
	if (vmm->state == VMM_STARTING)
		vmm->state = VMM_RUNNING;
	return 0;
}

static int build(struct vmm *vmm, struct failure *why)
{
	int err = watch_signals(vmm, why);
	if (!err)
		err = prepare_runtime(vmm, why);
	if (!err)
		err = check_files(vmm->config, why);
	if (!err)
		err = make_machine(vmm, why);
	if (!err)
		err = confine(vmm, why);
	return err ? err : start_machine(vmm, why);
}

static void take_down(struct vmm *vmm)
{
	if (vmm->created)
		vmm->engine->destroy(&vmm->machine);
	if (vmm->console)
		console__drain(vmm->console); /* the guest's last words */
	if (vmm->guest)
		guest_stream__drain(vmm->guest);
	device_set__end(&vmm->devices);
	guest_stream__free(vmm->guest);
	console__free(vmm->console);
	log__free(vmm->events_log);
	log__free(vmm->console_log);
	keeper__clean(vmm->keeper);

	struct frame frame;
	frame__begin(&frame, 64);
	frame__text(&frame, "event", "exited");
	frame__text(&frame, "reason", vmm->reason);
	control__finish(vmm->control, &frame, DELIVER_MS);
	control__free(vmm->control);
	if (vmm->signals >= 0)
		close(vmm->signals);
	loop__free(vmm->loop);
}

int vmm__run(const struct vmm_config *config, const struct keeper *keeper, uint64_t began)
{
	static const struct control_ops control_ops = {
		.request = vmm__request, .starter_gone = on_starter_gone, .drained = on_drained};
	struct vmm vmm = {
		.config = config, .keeper = keeper, .began = began, .signals = -1, .detached = config->detached};
	struct control_options options = {
		.starter = keeper->control, .unfinished = keeper->unfinished, .ops = &control_ops, .owner = &vmm};
	prctl(PR_SET_NAME, "capsa-vmm");
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
	err = build(&vmm, &why);
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
