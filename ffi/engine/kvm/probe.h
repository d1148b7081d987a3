/* What the probe of /dev/kvm asks of its half that is of an architecture, probe_<architecture>.c. Each int: 0 or
 * -errno.
 */
#ifndef CAPSA_ENGINE_KVM_PROBE_H
#define CAPSA_ENGINE_KVM_PROBE_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#define PROBE_GUEST_SIZE 0x5000 /* bytes of the guest's memory, from address 0 on */

/* Before there is a vCPU. */
int probe_arch__set_up_vm(int kvm, int vm);
/* The guest counts down and halts. */
int probe_arch__set_up_guest(int vcpu, uint8_t *memory);
/* Have it begin anew, with so many rounds to go. */
int probe_arch__begin(int vcpu, uint64_t rounds);
int probe_arch__left(int vcpu, uint64_t *rounds);
bool probe_arch__has_halted(const struct kvm_run *run);

/* Whether the processor says that it has virtualization: 1 or 0. */
int32_t probe_arch__virtualizes(void);

#endif
