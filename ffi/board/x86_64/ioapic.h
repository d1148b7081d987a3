/* The I/O APIC: which pin leads to which vector of which CPU. KVM delivers by itself what the guest has set up here. */
#ifndef CAPSA_ENGINE_KVM_IOAPIC_H
#define CAPSA_ENGINE_KVM_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#define KVM_IOAPIC_SIZE 0x1000 /* of its window, bytes */
#define KVM_IOAPIC_PINS_MAX 24

struct kvm_ioapic;

/* For the machine `vm_fd`, which has no vCPU yet: its local APICs come to be as well. Pin n is the machine's GSI n.
 * 0, -ENOMEM, or errors of KVM. */
__attribute__((warn_unused_result)) int kvm_ioapic__new(int vm_fd, unsigned pins, struct kvm_ioapic **out);
/* When no vCPU runs. NULL is allowed. */
void kvm_ioapic__free(struct kvm_ioapic *ioapic);

/* An access by the guest to the window, from any vCPU's thread. */
void kvm_ioapic__access(struct kvm_ioapic *ioapic, uint64_t offset, uint8_t *data, unsigned len, bool is_write);

#endif
