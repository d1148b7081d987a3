/* The shares stand while somebody changes the directories of transactions behind the file server's back. */
#ifndef CAPSA_VMM_CONTROL_SHARE_HOLD_H
#define CAPSA_VMM_CONTROL_SHARE_HOLD_H

#include <stdint.h>

struct vmm;
struct control_channel;

/* Of the main loop's thread. */
struct share_hold {
	const struct control_channel *by; /* NULL: nobody */
	uint64_t timer;
	struct control_channel *awaited_by; /* who is to be answered yet, and to which request */
	uint64_t request;
	unsigned asked; /* devices that have not said that they stand */
};

/* Who closes a channel holds nothing any more. */
void share_hold__closed(struct vmm *vmm, const struct control_channel *channel);

#endif
