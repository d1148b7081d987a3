/* The I/O ports of the board: the serial port, and what resets or powers off the machine. */
#ifndef CAPSA_BOARD_X86_64_PORTS_H
#define CAPSA_BOARD_X86_64_PORTS_H

#include <stdint.h>

#include "board/board.h"

enum port_outcome { PORT_TAKEN, PORT_NOBODY, PORT_POWER_OFF };

/* An access by the guest, from any vCPU's thread. *value is filled in whatever the outcome. */
enum port_outcome ports__write(struct board *board, uint16_t port, uint8_t value);
enum port_outcome ports__read(struct board *board, uint16_t port, uint8_t *value);

#endif
