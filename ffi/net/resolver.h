/* The guest's name server: passes its queries on to the host's, and its answers through the policy. An answer that does
 * not fit into their datagram is fetched by TCP: the guest's cable takes larger ones. */
#ifndef CAPSA_NET_RESOLVER_H
#define CAPSA_NET_RESOLVER_H

#include "net/names.h"
#include "net/packet.h"
#include "net/policy.h"
#include "net/services.h"
#include "os/loop.h"

#define RESOLVER_SERVERS 3 /* as many as the C library asks */
#define RESOLVER_OPEN 64   /* queries under way; one more takes the place of the oldest */

#define RESOLVER_FRESH_MS 1000

#define RESOLVER_NAME_MAX 128 /* bytes of a name that no rule is for by itself: more would carry data out */
#define RESOLVER_RATE 50      /* such names asked for in a second; */
#define RESOLVER_BURST 200    /* and at once, after a while without */

/* `why` a name was refused, NULL when a rule lets it be asked for and tells of it; `address`: where it led to, NULL
 * when it was not asked for at all. */
typedef void (*resolver_told_fn)(void *arg, const char *name, const struct address *address, const char *why);

/* Where the host's name servers are looked up while the guest asks: a machine may move from one network to another. */
struct resolver_source {
	/* At most RESOLVER_SERVERS: how many, 0 where they cannot be had now. NULL: they stay as they are. */
	unsigned (*servers)(void *owner, struct address servers[RESOLVER_SERVERS]);
	void *owner;
};

struct resolver_options {
	struct loop *loop;
	struct policy *policy;
	struct names *names;                      /* answered from here, whatever the policy; NULL: none */
	const struct services *services;          /* whose names nobody else is asked for */
	struct address servers[RESOLVER_SERVERS]; /* at first */
	unsigned server_count;
	struct resolver_source source; /* asked at a query, at most once in RESOLVER_FRESH_MS */
	uint64_t (*now)(void);         /* milliseconds */
	/* An answer, as a frame for the guest. */
	void (*answer)(void *arg, const uint8_t *frame, size_t len);
	resolver_told_fn told;
	void *arg;
};

struct resolver;

/* Nothing is asked or opened yet. 0 or -ENOMEM. All calls but this are made on the loop's thread. */
__attribute__((warn_unused_result)) int resolver__new(const struct resolver_options *options, struct resolver **out);
/* What is under way is forgotten. */
void resolver__free(struct resolver *resolver);

/* A UDP packet of the guest to its name server. What is no query is dropped; a name that may not be asked for is
 * answered with a refusal; each query goes out from a port of its own. */
void resolver__ask(struct resolver *resolver, const struct packet *packet);

/* Those that are asked now: how many. */
unsigned resolver__servers(const struct resolver *resolver, struct address servers[RESOLVER_SERVERS]);

#endif
