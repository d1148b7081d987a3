/* A PC without what kernels do without: an I/O APIC, COM1, and the two ports that end the machine. */
#include "board/board.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/x86_64/acpi.h"
#include "board/x86_64/ioapic.h"
#include "board/x86_64/layout.h"
#include "board/x86_64/ports.h"
#include "board/x86_64/serial.h"
#include "virtio/mmio.h"

#define PORT_KEYBOARD 0x64 /* status, command */
#define KEYBOARD_RESET 0xfe

struct board {
	struct ioapic *ioapic;
	struct serial *serial; /* NULL without */
};

/* Behind the serial port's: kernels take the lower ones for a PC's old devices. */
#define FIRST_IRQ (SERIAL_IRQ + 1)

_Static_assert(FIRST_IRQ + BOARD_MAX_DEVICES <= IOAPIC_PINS_MAX, "each device has a pin");

struct board_device board__place(unsigned index)
{
	return (struct board_device){.addr = LAYOUT_VIRTIO + (uint64_t)index * VIRTIO_MMIO_SIZE,
				     .irq = FIRST_IRQ + index};
}

int board__announce(unsigned device_count, char *cmdline, size_t size, struct failure *why)
{
	size_t used = strlen(cmdline);
	for (unsigned i = 0; i < device_count; i++) {
		const struct board_device place = board__place(i);
		used += (size_t)snprintf(cmdline + used, size - used, " virtio_mmio.device=4K@0x%llx:%u",
					 (unsigned long long)place.addr, place.irq);
		if (used >= size)
			return failure__set(why, E2BIG, NULL,
					    "the kernel command line is too long beside the words for %u devices",
					    device_count);
	}
	return 0;
}

int board__new(const struct board_options *options, struct board **out)
{
	struct board *board = calloc(1, sizeof(*board));
	if (!board) {
		if (options->serial_fd >= 0)
			close(options->serial_fd);
		return -ENOMEM;
	}
	int error = options->serial_fd >= 0 ? serial__new(options->serial_fd, options->loop, &board->serial) : 0;
	if (!error)
		error = ioapic__new(FIRST_IRQ + options->device_count, options->route, options->arg, &board->ioapic);
	if (error)
		board__free(board);
	else
		*out = board;
	return error;
}

int board__start(struct board *board)
{
	return board->serial ? serial__start(board->serial) : 0;
}

void board__free(struct board *board)
{
	if (!board)
		return;
	serial__free(board->serial);
	ioapic__free(board->ioapic);
	free(board);
}

int board__serial_irq(const struct board *board, unsigned *irq)
{
	*irq = SERIAL_IRQ;
	return board->serial ? serial__irq_fd(board->serial) : -1;
}

bool board__access(struct board *board, uint64_t addr, uint8_t *data, unsigned len, bool is_write)
{
	if (addr < LAYOUT_IOAPIC || addr - LAYOUT_IOAPIC >= IOAPIC_SIZE)
		return false;
	ioapic__access(board->ioapic, addr - LAYOUT_IOAPIC, data, len, is_write);
	return true;
}

static bool is_serial(const struct board *board, uint16_t port)
{
	return board->serial && port >= SERIAL_PORT && port - SERIAL_PORT < SERIAL_PORTS;
}

enum port_outcome ports__write(struct board *board, uint16_t port, uint8_t value)
{
	if ((port == PORT_KEYBOARD && value == KEYBOARD_RESET) ||
	    (port == ACPI_SLEEP_CONTROL && value & ACPI_SLEEP_ENABLE))
		return PORT_POWER_OFF;
	if (is_serial(board, port))
		serial__write(board->serial, port - SERIAL_PORT, value);
	else if (port != PORT_KEYBOARD)
		return PORT_NOBODY;
	return PORT_TAKEN;
}

enum port_outcome ports__read(struct board *board, uint16_t port, uint8_t *value)
{
	if (is_serial(board, port)) {
		*value = serial__read(board->serial, port - SERIAL_PORT);
		return PORT_TAKEN;
	}
	const bool is_idle = port == PORT_KEYBOARD || port == ACPI_SLEEP_STATUS;
	*value = is_idle ? 0 : 0xff; /* a bus on which nobody answers */
	return is_idle ? PORT_TAKEN : PORT_NOBODY;
}
