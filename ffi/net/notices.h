/* What of a network is worth telling: each thing once in a while, and not too many of them. */
#ifndef CAPSA_NET_NOTICES_H
#define CAPSA_NET_NOTICES_H

#include "net/policy.h"

#define NOTICES_TOLD 256 /* things that are remembered, so that each is told once in NOTICES_MS */
#define NOTICES_MS 10000

/* A packet or a name that was refused, or that a rule lets through and tells of. Texts live until the call returns. */
struct gate_notice {
	const char *why;                  /* it was refused; NULL: it was let through */
	bool failed;                      /* nothing refused it: `why` is what went wrong */
	const char *protocol;             /* "tcp", "udp", "icmp", "dns", "frame" */
	char address[ADDRESS_TEXT];       /* "" where there is none */
	uint16_t port;                    /* 0: none */
	bool inside;                      /* the address is of the host's surroundings: see address__is_inside */
	const char *name;                 /* that led to the address, or was asked for; NULL: none is known */
	char allow[POLICY_NAME_MAX + 32]; /* the rule that would allow just this; "" where none can */
};

struct notices {
	struct {
		uint64_t what, when; /* hash; milliseconds */
	} told[NOTICES_TOLD];
	unsigned next, refusals, accesses; /* told in this period */
	uint64_t period;
};

/* Whether this is to be told, `now` in milliseconds. *rest becomes a sentence where it is the last that could be for a
 * while: that is to be told in its place. Zeroed memory is a fresh one. */
bool notices__take(struct notices *notices, const struct gate_notice *notice, uint64_t now, const char **rest);

#endif
