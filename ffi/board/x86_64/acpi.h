/* ACPI tables for kernels that look for nothing else: CPUs, virtio-mmio devices, the serial port, reset and power off.
 */
#ifndef CAPSA_BOARD_X86_64_ACPI_H
#define CAPSA_BOARD_X86_64_ACPI_H

#include <stdint.h>

#include "board/board.h"
#include "memory.h"

/* Ports of the hardware-reduced model's sleep registers, which the engine answers: a write with the enable bit is the
 * wish to power off. */
#define ACPI_SLEEP_CONTROL 0x600
#define ACPI_SLEEP_STATUS 0x601
#define ACPI_SLEEP_ENABLE 0x20

/* Write the tables (ACPI 6.4) at LAYOUT_ACPI; returns the guest address of the root pointer. */
uint64_t acpi__write(const struct guest_memory *mem, const struct board_request *request);

#endif
