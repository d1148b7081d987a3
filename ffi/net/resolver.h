/* The guest's name server: what it may ask for is asked of the host's, and what they answer goes through the policy. An
 * answer is as long as the guest takes it; one that is cut can be had whole by TCP. */
#ifndef CAPSA_NET_RESOLVER_H
#define CAPSA_NET_RESOLVER_H

#include "common/loop.h"
#include "net/inquiry.h"
#include "net/names.h"
#include "net/packet.h"
#include "net/policy.h"
#include "net/services.h"

#define RESOLVER_OPEN 256 /* queries under way; one more takes the place of the oldest */

#define RESOLVER_FRESH_MS 1000

#define RESOLVER_NAME_MAX 128 /* bytes of a name that no rule is for by itself: more would carry data out */
#define RESOLVER_RATE 50      /* such names asked for in a second; */
#define RESOLVER_BURST 200    /* and at once, after a while without */

/* What is told of a name. */
struct resolver_news {
	const char *name;
	const struct address *address; /* where it led to; NULL when it was not asked for, or led nowhere */
	const char *why;               /* it was refused; NULL when a rule lets it be asked for and tells of it */
	bool failed;                   /* nothing refused it: `why` is what the name servers did */
};

/* Where the host's name servers are looked up while the guest asks: a machine may move from one network to another. */
struct resolver_source {
	/* False where they cannot be had now. NULL: they stay as they are. */
	bool (*servers)(void *owner, struct name_servers *servers);
	void *owner;
};

struct resolver_options {
	struct loop *loop;
	struct policy *policy;
	struct names *names;             /* answered from here, whatever the policy; NULL: none */
	const struct services *services; /* whose names nobody else is asked for */
	struct name_servers servers;     /* at first */
	struct resolver_source source;   /* asked at a query, at most once in RESOLVER_FRESH_MS */
	uint64_t (*now)(void);           /* milliseconds */
	/* An answer, as a frame for the guest. */
	void (*answer)(void *arg, const uint8_t *frame, size_t len);
	void (*told)(void *arg, const struct resolver_news *news);
	void *arg;
};

struct resolver;

/* Nothing is asked or opened yet. 0 or -ENOMEM. All calls but this are made on the loop's thread. */
__attribute__((warn_unused_result)) int resolver__new(const struct resolver_options *options, struct resolver **out);
/* What is under way is forgotten. */
void resolver__free(struct resolver *resolver);

/* A UDP packet of the guest to its name server. What is no query is dropped; a name that may not be asked for is
 * answered with a refusal. */
void resolver__ask(struct resolver *resolver, const struct packet *packet);

/* The other end of a TCP connection of the guest's to its name server: a stream's descriptor, which the caller closes,
 * or -errno. */
__attribute__((warn_unused_result)) int resolver__open_stream(struct resolver *resolver);

/* Those that are asked now. */
const struct name_servers *resolver__servers(const struct resolver *resolver);

#endif
