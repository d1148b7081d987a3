/* The I/O APIC: which pin leads to which vector of which CPU. The engine delivers what the guest has set up here. */
#ifndef CAPSA_BOARD_X86_64_IOAPIC_H
#define CAPSA_BOARD_X86_64_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "board/board.h"

#define IOAPIC_SIZE 0x1000 /* of its window, bytes */
#define IOAPIC_PINS_MAX 24

struct ioapic;

/* `route` as in board_options: a pin is an interrupt. 0, -EINVAL or -ENOMEM. */
__attribute__((warn_unused_result)) int
ioapic__new(unsigned pins, void (*route)(void *arg, const struct board_route *routes, unsigned count), void *arg,
	    struct ioapic **out);
/* When no vCPU runs. NULL is allowed. */
void ioapic__free(struct ioapic *ioapic);

/* An access by the guest to the window, from any vCPU's thread. */
void ioapic__access(struct ioapic *ioapic, uint64_t offset, uint8_t *data, unsigned len, bool is_write);

#endif
