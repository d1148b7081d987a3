/* A 16550 serial port, for kernels whose console is ttyS0: as much of one as their drivers and early output need. */
#ifndef CAPSA_BOARD_X86_64_SERIAL_H
#define CAPSA_BOARD_X86_64_SERIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/loop.h"

#define SERIAL_PORT 0x3f8 /* COM1 */
#define SERIAL_PORTS 8
#define SERIAL_IRQ 4

struct serial;

/* `fd`: a non-blocking stream socket, taken over, succeed or fail; it is read and written on `loop`. For a reader
 * that is away 64 KiB of output are kept, what comes after that is dropped. 0, -ENOMEM, or errors of bell__new. */
__attribute__((warn_unused_result)) int serial__new(int fd, struct loop *loop, struct serial **out);
/* On the loop's thread, when no vCPU runs. NULL is allowed. */
void serial__free(struct serial *serial);

/* Begin to read input; on the loop's thread. 0 or -errno. */
__attribute__((warn_unused_result)) int serial__start(struct serial *serial);

/* Bell of the interrupt line (edges), the port's own. */
int serial__irq_fd(const struct serial *serial);

/* An access by the guest to port SERIAL_PORT + offset, from any vCPU's thread. */
uint8_t serial__read(struct serial *serial, unsigned offset);
void serial__write(struct serial *serial, unsigned offset, uint8_t value);

#endif
