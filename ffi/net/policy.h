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
	bool log;               /* of what it allows somebody is told */
	bool own;               /* only where the address is this machine's own; it has no name then */
	const char *name;       /* "example.org"; "*.example.org" for all below it; "*" for all; NULL: by address */
	struct network network; /* where there is no name */
	enum policy_protocol protocol;
	uint16_t first_port, last_port; /* 0 and 65535 for all; ICMP has none, and counts as port 0 */
	const char *why;                /* a refusal's reason, for people; NULL: "no rule allows it" and the like */
	const char *text;               /* the rule as somebody wrote it; NULL: it is capsa's own */
};

/* Whether an address is this machine's own. `fresh`: now, and not a little earlier. `now` as in policy__match. */
struct policy_own {
	bool (*holds)(void *arg, const struct address *address, bool fresh, uint64_t now);
	void *arg;
};

struct policy;

/* `rules` are copied. `otherwise`: what holds where no rule matches. 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int policy__new(const struct policy_rule *rules, unsigned count, bool otherwise,
						    const struct policy_own *own, struct policy **out);
void policy__free(struct policy *policy);

/* Other rules, from now on. What names have led to stays known, but for what they may not lead to any more. 0, or
 * -ENOMEM with the old rules in force. */
__attribute__((warn_unused_result)) int policy__replace(struct policy *policy, const struct policy_rule *rules,
							unsigned count, bool otherwise);

/* The rules in force, *count of them. These and the rules below live until they are replaced. */
const struct policy_rule *policy__rules(const struct policy *policy, unsigned *count);
/* What holds where none of them matches, as a rule. */
const struct policy_rule *policy__otherwise(const struct policy *policy);

/*
 * The rule that decides about packets to an address. They may go there where they may go to each of address__plain:
 * *about becomes the one that the rule is about. A name that has led to `to` has led to all of these. `now`:
 * milliseconds of a clock that only goes forward.
 */
const struct policy_rule *policy__match(struct policy *policy, enum policy_protocol protocol, const struct address *to,
					uint16_t port, uint64_t now, struct address *about);
/* The same for what goes on already: a name that has led there holds, however long ago that was. */
const struct policy_rule *policy__match_open(struct policy *policy, enum policy_protocol protocol,
					     const struct address *to, uint16_t port);
/* The rule that would decide if the name led to addresses that are in no network but the whole Internet, one of each
 * family: one that allows, if one does. Echo requests are carried by IPv4 alone. */
const struct policy_rule *policy__match_name(const struct policy *policy, enum policy_protocol protocol,
					     const char *name, uint16_t port);

/* Why a rule refuses, NULL where it allows. */
const char *policy_rule__refuses(const struct policy_rule *rule);

/* Whether one more rule that allows the place would let through what this one refuses: what somebody has denied comes
 * before all that is allowed. */
bool policy_rule__yields(const struct policy_rule *rule);

/* The rule that decides whether a name may be asked for. It is in small letters, without a dot at its end. */
const struct policy_rule *policy__match_question(const struct policy *policy, const char *name);

/* Whether a rule that allows something is for this very name. */
bool policy__names(const struct policy *policy, const char *name);

/*
 * A name server has said that `name` leads to `address`, for `ttl` seconds: rules for the name hold for the address
 * from now on, for an hour at least after the answer and after each use. False, and nothing of it is kept, when no
 * name may lead there: an address of the host or its surroundings (address__is_inside) that no rule allows as an
 * address.
 */
__attribute__((warn_unused_result)) bool policy__learn(struct policy *policy, const char *name,
						       const struct address *address, uint32_t ttl, uint64_t now);

/* A connection to the address was open until now: that was a use of what has led there. */
void policy__used(struct policy *policy, const struct address *address, uint64_t now);

/* Whether a name that these rules allow has led to the address at any time: of one that they refuse that was too long
 * ago. */
bool policy__is_stale(const struct policy *policy, enum policy_protocol protocol, const struct address *address,
		      uint16_t port);
/* Whether there are rules that allow names to be reached so. */
bool policy__has_names(const struct policy *policy, enum policy_protocol protocol, uint16_t port);

/* The name that last led to the address, NULL when none did. */
const char *policy__name_of(const struct policy *policy, const struct address *address);

#endif
