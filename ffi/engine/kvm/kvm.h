/* Inside of the KVM engine: the parts of a machine that its generic and its architecture's half share. */
#ifndef CAPSA_ENGINE_KVM_H
#define CAPSA_ENGINE_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "board/board.h"
#include "engine/engine.h"
#include "engine/kvm/park.h"
#include "memory.h"
#include "virtio/mmio.h"

struct kvm_machine;

struct kvm_vcpu {
	struct kvm_machine *vm;
	unsigned index;
	int fd;
	struct kvm_run *run; /* shared with the kernel */
	pthread_t thread;
	bool has_thread;
};

struct kvm_machine {
	struct machine *machine;
	int kvm, fd; /* /dev/kvm, only during create; the VM */
	struct guest_memory mem;
	void *mapping; /* guest memory, both regions in it */
	size_t mapping_size;
	size_t run_size; /* of each vCPU's `run` */
	struct kvm_vcpu *vcpus;
	unsigned vcpu_count;
	struct virtio_mmio *mmio[MACHINE_MAX_DEVICES];
	struct board *board;
	struct loop_park *parked; /* the workers, while paused */
	_Atomic uint64_t ignored; /* accesses by the guest to ports and addresses where nothing is */

	int end_fd; /* bell in the main loop: rung once, when the machine has ended by itself */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool paused, stopping; /* what vCPUs are to do */
	uint64_t clock;        /* the guest's, while paused; 0: none */
	unsigned running;      /* vCPU threads that may be inside the guest or a device's transport */
	bool has_ended;
	enum machine_end end;
	struct failure why;
};

/* What to do after an exit from the guest. */
enum kvm_verdict { KVM_GO_ON, KVM_SHUT_DOWN, KVM_GIVE_UP };

/* An address belongs to a device or to nothing; `data` is read or written. */
void kvm_devices__access(struct kvm_machine *vm, uint64_t addr, uint8_t *data, unsigned len, bool is_write);
/* Give each device its transport, and its eventfds in the kernel. */
__attribute__((warn_unused_result)) int kvm_devices__attach(struct kvm_machine *vm, struct failure *why);
void kvm_devices__detach(struct kvm_machine *vm);

/* memory.c */
/* The kernel on its way into memory. `vm`, but for its memory, and `cmdline` are only read meanwhile. */
struct kvm_loading {
	const struct kvm_machine *vm;
	const char *cmdline;
	pthread_t thread;
	atomic_int tid;
	struct board_entry entry; /* once loaded */
	int error;
	struct failure why;
};

/* Map the guest's memory, all zeros; freed with the machine. */
__attribute__((warn_unused_result)) int kvm_memory__map(struct kvm_machine *vm, struct failure *why);
/* Make it the machine's. */
__attribute__((warn_unused_result)) int kvm_memory__give(struct kvm_machine *vm, struct failure *why);
/* Begin to load kernel and initrd into mapped memory. Once it has begun kvm_memory__loaded has to be called: it waits
 * for the end, and leaves the process without that thread. */
__attribute__((warn_unused_result)) int kvm_memory__load(struct kvm_loading *loading, struct failure *why);
__attribute__((warn_unused_result)) int kvm_memory__loaded(struct kvm_loading *loading, struct failure *why);

/* the architecture: x86_64.c */
/* Interrupt controllers and timers; before any vCPU. */
__attribute__((warn_unused_result)) int kvm_arch__set_up_vm(struct kvm_machine *vm, struct failure *why);
__attribute__((warn_unused_result)) int kvm_arch__set_up_vcpu(struct kvm_vcpu *vcpu, const struct board_entry *entry,
							      struct failure *why);
/* The guest's clock stands still from one to the other; no vCPU runs. Best effort: else it jumps. */
void kvm_arch__hold_clock(struct kvm_machine *vm);
void kvm_arch__let_clock_go(struct kvm_machine *vm);
/* An exit the generic half does not know; with KVM_GIVE_UP *why is filled in. */
enum kvm_verdict kvm_arch__handle_exit(struct kvm_vcpu *vcpu, struct failure *why);
/* board_options.route; `arg`: the machine. */
void kvm_arch__route(void *arg, const struct board_route *routes, unsigned count);

#endif
