/* One connection of the control channel: frames out of a queue, and requests in. */
#ifndef CAPSA_VMM_CONTROL_CHANNEL_H
#define CAPSA_VMM_CONTROL_CHANNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/cbor_table.h"
#include "common/frame.h"
#include "common/loop.h"
#include "net/policy.h"

/* A follower that is further behind than this is disconnected. The starter is waited for instead: see congested. */
#define CONTROL_MAX_BEHIND (4U << 20)
#define CONTROL_CONGESTED (1U << 20)

struct control_channel;

/* `request` of ffi/vmm.cddl; what it points to lives until the handler returns. */
struct control_request {
	uint64_t id;
	const char *op;
	uint32_t port;    /* 0: absent */
	uint64_t memory;  /* bytes, 0: absent */
	struct span data; /* at NULL: absent */
	bool follow;
	CBOR_LIST_OF(struct policy_rule) rules; /* at NULL: absent */
	bool otherwise;
	const char *host;              /* NULL: absent */
	enum policy_protocol protocol; /* POLICY_ANY: absent */
};

extern const struct cbor_table control_request_table;

struct control_ops {
	/* Answer with channel__reply, once. */
	void (*request)(void *owner, struct control_channel *from, const struct control_request *request);
	void (*starter_gone)(void *owner); /* its end was closed */
	/* A channel was closed, by either side; the pointer means nothing any more. */
	void (*closed)(void *owner, const struct control_channel *channel);
	void (*drained)(void *owner); /* the starter has taken enough that control__congested is false again */
};

struct control_options {
	struct loop *loop;
	int starter;             /* connected, non-blocking stream socket; taken over on success */
	atomic_bool *unfinished; /* true while the starter has got a part of a frame; for who must send the last one */
	const struct control_ops *ops;
	void *owner;
};

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

/* The server, see vmm/control/control.h. */
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
/* End the frame and send it as the answer; the caller has begun it in a buffer of its own, which is freed, with "reply"
 * in it. */
void channel__reply(struct control_channel *to, struct writer *out);
/* From now on this channel gets events. */
void channel__follow(struct control_channel *channel);
/* Write what the socket takes. False when the other side is gone. */
bool channel__flush(struct control_channel *ch);

#endif
