/* The KVM engine: guest memory, vCPU threads, and how a machine starts, pauses and ends. */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "confine/confine.h"
#include "os/bell.h"

/* The signal that calls a vCPU's thread out of the guest. It is blocked everywhere but for KVM_RUN itself, stays
 * pending when it comes, and is taken back by hand: no handler, and none is lost that comes before KVM_RUN. */
#define KICK_SIGNAL (SIGRTMAX - 1)

/* ---- the end ---- */

/* Told by a vCPU's thread; the first one counts. */
static void vm__end(struct kvm_machine *vm, enum machine_end end, const struct failure *why)
{
	pthread_mutex_lock(&vm->lock);
	if (!vm->has_ended) {
		vm->has_ended = true;
		vm->end = end;
		if (why)
			vm->why = *why;
		bell__ring(vm->end_fd);
	}
	pthread_mutex_unlock(&vm->lock);
}

static void vm__tell_end(void *arg, int fd, unsigned ready)
{
	struct kvm_machine *vm = arg;
	(void)ready;
	loop__del(vm->machine->loop, fd);
	pthread_mutex_lock(&vm->lock);
	enum machine_end end = vm->end;
	struct failure why = vm->why;
	pthread_mutex_unlock(&vm->lock);
	vm->machine->ended(vm->machine, end, end == MACHINE_FAILED ? &why : NULL);
}

/* ---- vCPU threads ---- */

static enum kvm_verdict vcpu__handle_exit(struct kvm_vcpu *vcpu, struct failure *why)
{
	struct kvm_run *run = vcpu->run;
	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		kvm_devices__access(vcpu->vm, run->mmio.phys_addr, run->mmio.data,
				    run->mmio.len <= sizeof(run->mmio.data) ? run->mmio.len : sizeof(run->mmio.data),
				    run->mmio.is_write);
		return KVM_GO_ON;
	case KVM_EXIT_INTR:
		return KVM_GO_ON;
	case KVM_EXIT_SHUTDOWN: /* triple fault: how a kernel without other means reboots */
	case KVM_EXIT_SYSTEM_EVENT:
		return KVM_SHUT_DOWN;
	default:
		return kvm_arch__handle_exit(vcpu, why);
	}
}

/* Take back the kick, if there was one. */
static void take_kick(void)
{
	sigset_t kick;
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	sigtimedwait(&kick, NULL, &(struct timespec){0});
}

/* Whether to enter the guest; waits out a pause. */
static bool vcpu__may_run(struct kvm_machine *vm)
{
	pthread_mutex_lock(&vm->lock);
	while (vm->paused && !vm->stopping) {
		vm->running--;
		pthread_cond_broadcast(&vm->changed);
		while (vm->paused && !vm->stopping)
			pthread_cond_wait(&vm->changed, &vm->lock);
		vm->running++;
	}
	bool may = !vm->stopping && !vm->has_ended;
	pthread_mutex_unlock(&vm->lock);
	return may;
}

static void *vcpu__thread(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	struct kvm_machine *vm = vcpu->vm;
	enum kvm_verdict verdict = KVM_GO_ON;
	struct failure why;
	if (vm->machine->narrow)
		confine__narrow(CONFINE_VCPU, false);
	while (verdict == KVM_GO_ON && vcpu__may_run(vm)) {
		int error = 0;
		do {
			error = ioctl(vcpu->fd, KVM_RUN, 0) < 0 ? errno : 0;
			if (!error)
				verdict = vcpu__handle_exit(vcpu, &why);
		} while (!error && verdict == KVM_GO_ON);
		if (error == EINTR || error == EAGAIN) {
			take_kick();
		} else if (error) {
			verdict = KVM_GIVE_UP;
			(void)!failure__set(&why, error, "ENGINE_FAILED", "KVM cannot run vCPU %u", vcpu->index);
		}
	}
	if (verdict == KVM_SHUT_DOWN)
		vm__end(vm, MACHINE_SHUTDOWN, NULL);
	else if (verdict == KVM_GIVE_UP)
		vm__end(vm, MACHINE_FAILED, &why);
	pthread_mutex_lock(&vm->lock);
	vm->running--;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
	return NULL;
}

static void vm__kick(struct kvm_machine *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpus[i].has_thread)
			pthread_kill(vm->vcpus[i].thread, KICK_SIGNAL);
}

/* ---- create ---- */

static int vm__open(struct kvm_machine *vm, struct failure *why)
{
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0 && (errno == EACCES || errno == EPERM))
		return failure__set(
			why, errno, NULL,
			"no permission to use /dev/kvm; join its group (sudo usermod -aG kvm \"$USER\", then log "
			"in again), or take engine \"qemu\"");
	if (vm->kvm < 0)
		return failure__set(
			why, errno, NULL,
			"cannot open /dev/kvm; load the module (sudo modprobe kvm_intel or kvm_amd), switch "
			"virtualization on in the firmware, or take engine \"qemu\"");
	if (ioctl(vm->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return failure__set(why, ENOTSUP, NULL, "/dev/kvm does not speak version %d of KVM", KVM_API_VERSION);
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return failure__set(why, errno, NULL, "KVM makes no machine");
	int run_size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (run_size < (int)sizeof(struct kvm_run))
		return failure__set(why, EIO, NULL, "KVM says a vCPU's shared page has %d bytes", run_size);
	vm->run_size = (size_t)run_size;
	return 0;
}

/* While KVM_RUN runs, the kick alone is not blocked. */
static int vcpu__let_kick_in(const struct kvm_vcpu *vcpu)
{
	const uint64_t all_but_kick = ~(1ULL << (KICK_SIGNAL - 1));
	union { /* the kernel's struct ends in its own 64-bit signal set */
		struct kvm_signal_mask mask;
		uint8_t bytes[sizeof(struct kvm_signal_mask) + sizeof(all_but_kick)];
	} arg = {.mask.len = sizeof(all_but_kick)};
	memcpy(arg.mask.sigset, &all_but_kick, sizeof(all_but_kick));
	return ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, &arg) < 0 ? -errno : 0;
}

static int vm__make_vcpus(struct kvm_machine *vm, const struct board_entry *entry, struct failure *why)
{
	unsigned count = vm->machine->config->cpus;
	int most = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (most > 0 && count > (unsigned)most)
		return failure__set(why, EINVAL, NULL, "KVM runs at most %d vCPUs here, not %u", most, count);
	vm->vcpus = calloc(count, sizeof(*vm->vcpus));
	if (!vm->vcpus)
		return failure__set(why, ENOMEM, NULL, "no memory for %u vCPUs", count);
	vm->vcpu_count = count;
	for (unsigned i = 0; i < count; i++)
		vm->vcpus[i] = (struct kvm_vcpu){.vm = vm, .index = i, .fd = -1, .run = MAP_FAILED};
	for (unsigned i = 0; i < count; i++) {
		struct kvm_vcpu *vcpu = &vm->vcpus[i];
		vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, i);
		if (vcpu->fd < 0)
			return failure__set(why, errno, NULL, "KVM makes no vCPU %u", i);
		vcpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
		if (vcpu->run == MAP_FAILED)
			return failure__set(why, errno, NULL, "cannot map the shared page of vCPU %u", i);
		int error = vcpu__let_kick_in(vcpu);
		if (error)
			return failure__set(why, -error, NULL, "KVM does not take the signal mask of vCPU %u", i);
		error = kvm_arch__set_up_vcpu(vcpu, entry, why);
		if (error)
			return error;
	}
	return 0;
}

/* All that needs KVM, while the kernel is loaded. */
static int vm__make_machine(struct kvm_machine *vm, struct failure *why)
{
	int error = vm__open(vm, why);
	if (!error)
		error = kvm_memory__give(vm, why);
	if (!error)
		error = kvm_arch__set_up_vm(vm, why);
	return error ? error : kvm_devices__attach(vm, why);
}

static int vm__create(struct kvm_machine *vm, struct failure *why)
{
	char cmdline[4096];
	const struct machine_config *config = vm->machine->config;
	if ((size_t)snprintf(cmdline, sizeof(cmdline), "%s", config->cmdline ? config->cmdline : "") >= sizeof(cmdline))
		return failure__set(why, E2BIG, NULL, "the kernel command line is longer than %zu bytes",
				    sizeof(cmdline) - 1);
	vm->end_fd = bell__new();
	if (vm->end_fd < 0)
		return failure__set(why, -vm->end_fd, NULL, "no descriptor to tell the end by");
	struct kvm_loading loading = {.vm = vm, .cmdline = cmdline};
	int error = config->acpi ? 0 /* its tables tell where the devices are */
				 : board__announce(vm->machine->device_count, cmdline, sizeof(cmdline), why);
	if (!error)
		error = kvm_memory__map(vm, why);
	if (!error)
		error = kvm_memory__load(&loading, why);
	if (error)
		return error;
	struct failure load_why;
	error = vm__make_machine(vm, why);
	int load_error = kvm_memory__loaded(&loading, error ? &load_why : why);
	if (!error)
		error = load_error;
	if (!error)
		error = vm__make_vcpus(vm, &loading.entry, why);
	if (vm->kvm >= 0)
		close(vm->kvm); /* nobody can make another machine with what is left */
	vm->kvm = -1;
	return error;
}

/* ---- the engine's operations ---- */

static void kvm__destroy(struct machine *machine)
{
	struct kvm_machine *vm = machine->engine;
	if (!vm)
		return;
	pthread_mutex_lock(&vm->lock);
	vm->stopping = true;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
	loop_park__free(vm->parked);
	vm__kick(vm);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpus[i].has_thread)
			pthread_join(vm->vcpus[i].thread, NULL);
	kvm_devices__detach(vm);
	board__free(vm->board);
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		if (vm->vcpus[i].run != MAP_FAILED)
			munmap(vm->vcpus[i].run, vm->run_size);
		if (vm->vcpus[i].fd >= 0)
			close(vm->vcpus[i].fd);
	}
	free(vm->vcpus);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->mapping)
		munmap(vm->mapping, vm->mapping_size);
	if (vm->end_fd >= 0) {
		loop__del(machine->loop, vm->end_fd);
		close(vm->end_fd);
	}
	pthread_cond_destroy(&vm->changed);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
	machine->engine = NULL;
}

static int kvm__create(struct machine *machine, struct failure *why)
{
	struct kvm_machine *vm = calloc(1, sizeof(*vm));
	if (!vm) {
		if (machine->has_serial)
			close(machine->serial_fd);
		return failure__set(why, ENOMEM, NULL, "no memory for a machine");
	}
	vm->machine = machine;
	vm->kvm = vm->fd = vm->end_fd = -1;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	machine->engine = vm;
	const struct board_options options = {
		.device_count = machine->device_count,
		.loop = machine->loop,
		.serial_fd = machine->has_serial ? machine->serial_fd : -1,
		.route = kvm_arch__route,
		.arg = vm,
	};
	int error = board__new(&options, &vm->board);
	error = error ? failure__set(why, -error, NULL, "cannot make the board's chips") : vm__create(vm, why);
	if (error)
		kvm__destroy(machine);
	return error;
}

static int kvm__start(struct machine *machine, struct failure *why)
{
	struct kvm_machine *vm = machine->engine;
	int error = -loop__add(machine->loop, vm->end_fd, LOOP_READ, vm__tell_end, vm);
	if (!error)
		error = -board__start(vm->board);
	sigset_t all, before;
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* by which a forbidden system call is told */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	vm->running = vm->vcpu_count;
	for (unsigned i = 0; i < vm->vcpu_count && !error; i++) {
		struct kvm_vcpu *vcpu = &vm->vcpus[i];
		error = pthread_create(&vcpu->thread, NULL, vcpu__thread, vcpu);
		vcpu->has_thread = !error;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error ? failure__set(why, error, NULL, "cannot start the threads of %u vCPUs", vm->vcpu_count) : 0;
}

static int kvm__pause(struct machine *machine)
{
	struct kvm_machine *vm = machine->engine;
	pthread_mutex_lock(&vm->lock);
	bool was_paused = vm->paused;
	vm->paused = true;
	pthread_mutex_unlock(&vm->lock);
	if (was_paused)
		return 0;
	vm__kick(vm);
	pthread_mutex_lock(&vm->lock);
	while (vm->running > 0)
		pthread_cond_wait(&vm->changed, &vm->lock);
	pthread_mutex_unlock(&vm->lock);

	kvm_arch__hold_clock(vm);

	struct loop *loops[MACHINE_MAX_DEVICES];
	for (unsigned i = 0; i < machine->device_count; i++)
		loops[i] = machine->devices[i].loop;
	vm->parked = loop_park__new(loops, machine->device_count);
	return vm->parked ? 0 : -ENOMEM;
}

static int kvm__resume(struct machine *machine)
{
	struct kvm_machine *vm = machine->engine;
	if (!vm->paused)
		return 0;
	kvm_arch__let_clock_go(vm);
	loop_park__free(vm->parked);
	vm->parked = NULL;
	pthread_mutex_lock(&vm->lock);
	vm->paused = false;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

const struct engine_ops engine_kvm = {
	.name = "kvm",
	.create = kvm__create,
	.start = kvm__start,
	.pause = kvm__pause,
	.resume = kvm__resume,
	.destroy = kvm__destroy,
};
