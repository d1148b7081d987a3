/* One question to the host's name servers, as patient and as tolerant as the C library: a server that fails, refuses or
 * is not there has the next one asked at once, one that is silent has it asked as well, and all are listened to for as
 * long as the guest may wait. */
#ifndef CAPSA_NET_INQUIRY_H
#define CAPSA_NET_INQUIRY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/loop.h"
#include "net/dns.h"
#include "net/name_server.h"

#define INQUIRY_MAX 1024         /* bytes of a question */
#define INQUIRY_ROOM 65535       /* bytes of an answer */
#define INQUIRY_PATIENCE_MS 2000 /* with a server, before the next is asked as well; less where the guest has less */
#define INQUIRY_SILENCE_MS 5000  /* with the last one, until that is told */
#define INQUIRY_END_MS 30000     /* after which nobody waits any more */

enum inquiry_end {
	INQUIRY_ANSWERED,
	INQUIRY_FAILED,  /* all have failed: the last one's answer */
	INQUIRY_NOBODY,  /* no server is there; there is no answer */
	INQUIRY_SILENCE, /* none has said anything; there is no answer */
};

struct inquiry_options {
	struct loop *loop;
	const struct name_servers *servers; /* at least one; copied */
	unsigned first;                     /* which is asked first */
	bool stream;                        /* by TCP */
	const uint8_t *message;             /* copied */
	size_t len;                         /* of INQUIRY_MAX at most */
	uint8_t *room;                      /* of INQUIRY_ROOM bytes, which all inquiries of a thread may share */
	/* It is over: to be freed, by this or later. The answer is one to the message, and may be changed. */
	void (*ended)(void *arg, enum inquiry_end how, uint8_t *answer, size_t len);
	/* Nobody has answered for INQUIRY_SILENCE_MS. It goes on. */
	void (*silent)(void *arg);
	void *arg;
};

struct inquiry;

/* Nothing is asked yet. 0 or -ENOMEM. All calls are made on the loop's thread. */
__attribute__((warn_unused_result)) int inquiry__new(const struct inquiry_options *options, struct inquiry **out);
/* NULL is none. */
void inquiry__free(struct inquiry *inquiry);

/* Ask. It may be over by then. */
void inquiry__begin(struct inquiry *inquiry);
/* The guest has said the same once more: so is it to those who are asked. */
void inquiry__repeat(struct inquiry *inquiry);

#endif
