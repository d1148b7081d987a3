/* Guest memory of a KVM machine, and the kernel put into it by a thread of its own while the rest of the machine is
 * made.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/kvm/kvm.h"

#define HUGE_PAGE (2ULL << 20)

/*
 * One mapping: the regions one behind the other. Anonymous memory in huge pages and not a memfd,
 * which gets small ones: with those a boot takes four hundred times the page faults, and twice as long. What lies
 * before and behind cannot be touched: a device that strays from guest memory ends there.
 */
int kvm_memory__map(struct kvm_machine *vm, struct failure *why)
{
	uint64_t size = vm->machine->config->memory;
	int error = board__split(size, &vm->mem, why);
	if (error)
		return error;
	size_t room = size + 2 * HUGE_PAGE;
	void *mapping = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	vm->mapping = mapping == MAP_FAILED ? NULL : mapping;
	vm->mapping_size = room;
	uint8_t *host = (uint8_t *)mapping + HUGE_PAGE - ((uintptr_t)mapping & (HUGE_PAGE - 1));
	if (!vm->mapping || mprotect(host, size, PROT_READ | PROT_WRITE) < 0)
		return failure__set(why, errno, NULL, "cannot map %llu MiB of guest memory",
				    (unsigned long long)size >> 20);
	(void)madvise(host, size, MADV_HUGEPAGE); /* a kernel without them does without */
	for (unsigned i = 0; i < vm->mem.count; i++) {
		vm->mem.regions[i].host = host;
		host += vm->mem.regions[i].size;
	}
	return 0;
}

int kvm_memory__give(struct kvm_machine *vm, struct failure *why)
{
	for (unsigned i = 0; i < vm->mem.count; i++) {
		const struct guest_region *region = &vm->mem.regions[i];
		struct kvm_userspace_memory_region slot = {.slot = i,
							   .guest_phys_addr = region->gpa,
							   .memory_size = region->size,
							   .userspace_addr = (uintptr_t)region->host};
		if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return failure__set(why, errno, NULL, "KVM does not take the guest's memory");
	}
	return 0;
}

/* ---- loading ---- */

static int load(struct kvm_loading *loading)
{
	const struct kvm_machine *vm = loading->vm;
	const struct machine_config *config = vm->machine->config;
	const struct board_request request = {.kernel = config->kernel,
					      .kernel_path = config->kernel_path,
					      .initrd = config->initrd,
					      .initrd_path = config->initrd_path,
					      .cmdline = loading->cmdline,
					      .cpus = config->cpus,
					      .device_count = vm->machine->device_count,
					      .has_serial = vm->machine->has_serial};
	return board__load(&vm->mem, &request, &loading->entry, &loading->why);
}

static void *load__thread(void *arg)
{
	struct kvm_loading *loading = arg;
	atomic_store(&loading->tid, gettid());
	loading->error = load(loading);
	return NULL;
}

int kvm_memory__load(struct kvm_loading *loading, struct failure *why)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&loading->thread, NULL, load__thread, loading);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error ? failure__set(why, error, NULL, "cannot start a thread to load the kernel") : 0;
}

int kvm_memory__loaded(struct kvm_loading *loading, struct failure *why)
{
	pthread_join(loading->thread, NULL);
	/* joined is not gone yet, and a process that has two threads gets no user namespace of its own */
	while (tgkill(getpid(), atomic_load(&loading->tid), 0) == 0)
		sched_yield();
	if (loading->error)
		*why = loading->why;
	return loading->error;
}
