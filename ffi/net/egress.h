/* Whether something may leave the guest's cable: the places that no rule opens, and the policy for all others. */
#ifndef CAPSA_NET_EGRESS_H
#define CAPSA_NET_EGRESS_H

#include "net/packet.h"
#include "net/policy.h"
#include "net/services.h"

#define EGRESS_DNS_PORT 53

/* Who is who on the guest's network. */
struct net_addresses {
	uint8_t mac[PACKET_MAC];                          /* the guest's */
	struct address guest[2], host[2], name_server[2]; /* IPv4 and IPv6 */
	struct network network[2];
};

struct egress {
	const struct net_addresses *addresses;
	struct policy *policy;
	bool host_loopback;       /* the gateway's address leads to the host's loopback */
	struct services services; /* on the guest's network; the policy judges them by name */
};

struct egress_verdict {
	const char *why;                /* it may not; NULL: it may */
	const struct policy_rule *rule; /* that decided (it may be policy__otherwise); NULL: no rule is asked */
	struct address about;           /* as of policy__match, where a rule is asked about an address */
	bool mend;                      /* a rule would allow it */
	bool question;                  /* it is about a name's being asked for */
};

/* Packets to an address; port 0 for ICMP. `now` as in policy__match. */
struct egress_verdict egress__to_address(const struct egress *egress, enum policy_protocol protocol,
					 const struct address *to, uint16_t port, uint64_t now);

/* Whether the guest's own name server answers there: over UDP, and by IPv4 over TCP as well. */
bool egress__is_name_server(const struct egress *egress, enum policy_protocol protocol, const struct address *to,
			    uint16_t port);

/* Whether a TCP connection that is open may stay. */
bool egress__may_stay(const struct egress *egress, const struct address *to, uint16_t port);

/* Packets to wherever a name leads, if that is somewhere in the Internet; the name as in policy__match_question. */
struct egress_verdict egress__to_name(const struct egress *egress, enum policy_protocol protocol, const char *name,
				      uint16_t port);

/* Whether `address` is one of the pair. */
bool egress__is(const struct address *address, const struct address pair[2]);

#endif
