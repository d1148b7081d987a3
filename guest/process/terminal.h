/* A pseudo-terminal for a program (pty(7)): the program has one end as its controlling terminal, the agent the other.
 */
#ifndef CAPSA_PROCESS_TERMINAL_H
#define CAPSA_PROCESS_TERMINAL_H

#include <stdint.h>
#include <sys/types.h>

/* Characters; neither is 0. */
struct terminal_size {
	uint16_t columns, rows;
};

/* Both ends are close-on-exec. `host` does not block. */
struct terminal {
	int host, program;
};

/* Open one that belongs to `owner`. Returns 0, or -errno with nothing open. */
__attribute__((warn_unused_result)) int terminal__open(struct terminal *terminal, struct terminal_size size,
						       uid_t owner);
/* The programs in front of the terminal `host` get SIGWINCH where that is a change. */
void terminal__resize(int host, struct terminal_size size);
/* The character that stands for the end of input on the terminal `host`: Ctrl-D unless the program chose another. */
uint8_t terminal__end_of_input(int host);

#endif
