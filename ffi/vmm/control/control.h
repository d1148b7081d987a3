/* The control channel's server: the one that started the VMM, and whoever connects to control.sock. */
#ifndef CAPSA_VMM_CONTROL_CONTROL_H
#define CAPSA_VMM_CONTROL_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/frame.h"
#include "common/loop.h"
#include "net/config.h"
#include "vmm/cbor_map.h"

/* A follower that is further behind than this is disconnected. The starter is waited for instead: see congested. */
#define CONTROL_MAX_BEHIND (4U << 20)
#define CONTROL_CONGESTED (1U << 20)

struct control;
struct control_channel;

/* `request` of ffi/vmm.cddl; what it points to lives until the handler returns. */
struct control_request {
	uint64_t id;
	const char *op;
	uint64_t port;    /* 0: absent */
	uint64_t memory;  /* bytes, 0: absent */
	struct span data; /* at NULL: absent */
	bool follow;
	struct config_rules rules;
	bool otherwise;
	const char *host;              /* NULL: absent */
	enum policy_protocol protocol; /* POLICY_ANY: absent */
};

struct control_ops {
	/* Answer with control__reply, once. */
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

/* All calls are made on the loop's thread. 0 or -errno; the caller frees *out. */
__attribute__((warn_unused_result)) int control__new(const struct control_options *options, struct control **out);
void control__free(struct control *control);

/* Serve the same to processes of the same user on a Unix socket made at `path`. 0 or -errno. */
__attribute__((warn_unused_result)) int control__listen(struct control *control, const char *path);

/* End the frame and send it as the answer; the caller has begun it in a buffer of its own, which is freed, with "reply"
 * in it. */
void control__reply(struct control_channel *to, struct writer *out);
/* From now on this channel gets events. */
void control__follow(struct control_channel *channel);

/* End the frame and send it to the starter and every follower. `keep_up`: it is for those who are not behind only. */
void control__event(struct control *control, struct writer *out, bool keep_up);
/* The starter is behind by CONTROL_CONGESTED bytes: whoever can wait with more for it should. */
bool control__congested(const struct control *control);

/* Send the frame as the last event and wait until all is delivered or nobody takes it any more: the starter has
 * `starter_ms`, followers a second. No handler is called any more. */
void control__finish(struct control *control, struct writer *out, int starter_ms);

#endif
