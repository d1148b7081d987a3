/* What a guest may talk to: an ordered table of rules, of which the first that matches decides, and the addresses that
 * names have led to. */
#ifndef CAPSA_NET_POLICY_H
#define CAPSA_NET_POLICY_H

#include "net/address.h"

#include <stdbool.h>
#include <stdint.h>

#define POLICY_NAME_MAX 253 /* bytes of a domain name as text, RFC 1035 section 2.3.4 */

enum policy_protocol { POLICY_ANY, POLICY_TCP, POLICY_UDP, POLICY_ICMP };

struct policy_rule {
	bool allow;
	const char *name;       /* "example.org"; "*.example.org" for all below it; "*" for all; NULL: by address */
	struct network network; /* where there is no name */
	enum policy_protocol protocol;
	uint16_t first_port, last_port; /* 0 and 65535 for all; ICMP has none, and counts as port 0 */
	const char *why;                /* a refusal's reason, for people; NULL: "no rule allows it" and the like */
};

struct policy;

/* `rules` are borrowed and outlive the policy. `otherwise`: what holds where no rule matches. 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int policy__new(const struct policy_rule *rules, unsigned count, bool otherwise,
						    struct policy **out);
void policy__free(struct policy *policy);

/* Whether packets may go there: NULL, or why not. `now`: milliseconds of a clock that only goes forward. */
const char *policy__refuses(struct policy *policy, enum policy_protocol protocol, const struct address *to,
			    uint16_t port, uint64_t now);

/* Whether a name may be asked for. It is in small letters, without a dot at its end. */
bool policy__may_ask(const struct policy *policy, const char *name);

/*
 * A name server has said that `name` leads to `address`, for `ttl` seconds: rules for the name hold for the address
 * from now on, for five minutes at least after the answer and after each use. False, and nothing of it is kept, when no
 * name may lead there: an address of the host or its surroundings (address__is_inside) that no rule allows as an
 * address.
 */
__attribute__((warn_unused_result)) bool policy__learn(struct policy *policy, const char *name,
						       const struct address *address, uint32_t ttl, uint64_t now);

/* The name that last led to the address, NULL when none did. */
const char *policy__name_of(const struct policy *policy, const struct address *address);

#endif
