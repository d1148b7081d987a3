/* Network rules in words: the table in force, and which of them decides about a place; for the control channel and for
 * libcapsa, which has no VMM to ask. */
#ifndef CAPSA_NET_EXPLAIN_H
#define CAPSA_NET_EXPLAIN_H

#include "common/failure.h"
#include "common/frame.h"
#include "net/egress.h"

struct explain_question {
	const char *host;              /* an address, or a name in small letters */
	enum policy_protocol protocol; /* not POLICY_ANY */
	uint64_t port;                 /* 0: ICMP */
};

/* Add the entries of `explanation` (ffi/vmm.cddl). `now` as in policy__match. 0, or -EINVAL with *why and nothing
 * added. */
__attribute__((warn_unused_result)) int explain__add(struct writer *out, const struct egress *egress,
						     const struct explain_question *question, uint64_t now,
						     struct failure *why);

/* Add the entries of `net-rule`. */
void explain__add_rule(struct writer *out, const struct policy_rule *rule);

#endif
