/* A 16550 serial port, for kernels whose console is ttyS0: as much of one as their drivers and early output need. */
#ifndef CAPSA_ENGINE_KVM_SERIAL_H
#define CAPSA_ENGINE_KVM_SERIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/loop.h"

#define SERIAL_PORT 0x3f8 /* COM1 */
#define SERIAL_PORTS 8
#define SERIAL_IRQ 4

struct kvm_serial;

/* `fd`: a non-blocking stream socket, taken over, succeed or fail; it is read and written on `loop`. For a reader
 * that is away 64 KiB of output are kept, what comes after that is dropped. 0, -ENOMEM, or errors of eventfd(2). */
__attribute__((warn_unused_result)) int kvm_serial__new(int fd, struct loop *loop, struct kvm_serial **out);
/* On the loop's thread, when no vCPU runs. NULL is allowed. */
void kvm_serial__free(struct kvm_serial *serial);

/* Begin to read input; on the loop's thread. 0 or -errno. */
__attribute__((warn_unused_result)) int kvm_serial__start(struct kvm_serial *serial);

/* Eventfd of the interrupt line (edges), the port's own. */
int kvm_serial__irq_fd(const struct kvm_serial *serial);

/* An access by the guest to port SERIAL_PORT + offset, from any vCPU's thread. */
uint8_t kvm_serial__read(struct kvm_serial *serial, unsigned offset);
void kvm_serial__write(struct kvm_serial *serial, unsigned offset, uint8_t value);

#endif
