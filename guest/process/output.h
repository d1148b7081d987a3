/* The read end of a process's stdout or stderr, and the rule for when it has delivered all that is due. */
#ifndef CAPSA_PROCESS_OUTPUT_H
#define CAPSA_PROCESS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/loop.h"

/*
 * After a process ended, its outputs are read to their end. A process it left behind may hold them open for as long as
 * it lives, so there is a limit, OUTPUT_GRACE_MS after the end: output__seal then fixes how many bytes are still due
 * (what is in the pipe), and they are delivered however long the consumer takes. A terminal does not tell how much it
 * holds: what is due of it is all until it has nothing, within what it can hold.
 */
enum { OUTPUT_GRACE_MS = 100 };

/*
 * Programs write in small pieces, and a frame for each would cost more than the program does. So after a read that got
 * little, the next one waits OUTPUT_PAUSE_MS for more to gather. The end of the process ends the wait.
 */
enum { OUTPUT_PAUSE_MS = 1 };

struct output {
	struct loop *loop;
	int fd;         /* -1: at its end */
	uint64_t pause; /* timer; 0: none */
	bool terminal, sealed;
	size_t due; /* bytes, once sealed */
};

/* Make a pipe; its write end, close-on-exec, is *write_end and the caller's. Returns 0 or -errno. */
__attribute__((warn_unused_result)) int output__open(struct output *output, struct loop *loop, loop_fn ready, void *arg,
						     int *write_end);
/* Take over the host's end of a terminal, which must not block; it is closed on failure, too. Returns 0 or -errno. */
__attribute__((warn_unused_result)) int output__take(struct output *output, struct loop *loop, loop_fn ready, void *arg,
						     int terminal);
/* Read at most `size` (not 0) bytes of an output not yet ended; it is closed with the last of them. Returns their
 * count, 0 at the end, -EAGAIN or -errno. */
__attribute__((warn_unused_result)) ssize_t output__read(struct output *output, uint8_t *bytes, size_t size);
/* Have `ready` called once there is something to read, or not at all while the consumer has no `room`. */
void output__await(struct output *output, bool room);
void output__seal(struct output *output);
static inline bool output__ended(const struct output *output)
{
	return output->fd < 0;
}
void output__close(struct output *output);

#endif
