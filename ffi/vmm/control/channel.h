/* One connection of the control channel: frames out of a queue, and requests in. */
#ifndef CAPSA_VMM_CONTROL_CHANNEL_H
#define CAPSA_VMM_CONTROL_CHANNEL_H

#include "vmm/control/control.h"

struct control_channel {
	struct control *control;
	struct control_channel *next;
	int fd; /* -1: closed; freed by the next sweep */
	bool starter;
	bool follow;
	struct buffer in; /* the frame under way */
	struct channel_out *first, **last;
	size_t queued; /* bytes not sent yet */
};

struct control {
	struct control_options options;
	struct control_channel *channels;
	struct control_channel *starter; /* NULL once it is gone */
	int listener;
	unsigned count;
	bool congested;
	bool finishing;
};

/* Watch the connected socket, which is taken over on success, and join the control's channels. 0 or -errno. */
__attribute__((warn_unused_result)) int channel__new(struct control *control, int fd, bool starter,
						     struct control_channel **out);
/* Close the socket and forget what was to be sent. Idempotent. */
void channel__close(struct control_channel *ch);
/* The same, and free it. */
void channel__free(struct control_channel *ch);
/* The other side is gone: close, and tell when it was the starter. */
void channel__lost(struct control_channel *ch);
/* Send a copy of what is queued in `frame`: at once as far as the socket takes them, the rest when it does. A follower
 * that is too far behind is closed. */
void channel__send(struct control_channel *ch, const struct buffer *frame);
/* Write what the socket takes. False when the other side is gone. */
bool channel__flush(struct control_channel *ch);

#endif
