/* What the VMM says to the processes that watch it, and that it is dead: messages of a byte or little more over a
 * socket pair. */
#ifndef CAPSA_VMM_KEEPER_LINK_H
#define CAPSA_VMM_KEEPER_LINK_H

#include <stdbool.h>

enum link_message {
	LINK_NOTHING = 0,
	LINK_CLOSED = -1,   /* the other side is dead */
	LINK_DETACH = 'd',  /* to the keeper: the control channel may close without the sandbox ending */
	LINK_CLEAN = 'c',   /* archive the logs and remove the runtime directory */
	LINK_CLEANED = 'k', /* the answer to it */
	LINK_TRAPPED = 't', /* to the keeper, with the number of a system call: the VMM has made one that it never
			     * makes, and ends */
	LINK_MADE = 'm',    /* to the keeper, with the number of the engine's process or 0: before it runs the guest */
};

/* The VMM's end of its link to the keeper: a number that needs no memory to be known. */
#define LINK_FD 4

struct link_numbered {
	char message;
	int number;
};

/* From the end of a machine to the end of its VMM: somewhat longer than what that says last may take. */
#define LINK_DELIVER_MS 12000

/* 0 or -errno; the caller closes both. */
__attribute__((warn_unused_result)) int link__pair(int ends[2]);
/* False when the other side is dead, or takes nothing. */
bool link__tell(int fd, enum link_message message);
bool link__tell_number(int fd, enum link_message message, int number);
/* The next message, without waiting; *number (NULL is allowed) gets that of one that has it. */
enum link_message link__take(int fd, int *number);
/* Tell LINK_CLEAN and wait until it is done; false when the other side did not do it. */
bool link__ask_clean(int fd);

#endif
