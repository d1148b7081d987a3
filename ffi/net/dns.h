/* DNS messages (RFC 1035): what is asked, which addresses an answer gives, and an answer that refuses. */
#ifndef CAPSA_NET_DNS_H
#define CAPSA_NET_DNS_H

#include "net/address.h"
#include "net/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_HEADER 12
#define DNS_A 1           /* types: an IPv4 address, */
#define DNS_AAAA 28       /* an IPv6 address */
#define DNS_ANSWER_MAX 28 /* bytes of an answer with one of these */

struct dns_question {
	char name[POLICY_NAME_MAX + 1]; /* small letters, no dot at the end; "" for the root */
	uint16_t type, class;
	size_t len; /* of the message up to its end */
};

/* The one question of a query, or of an answer (`answer`). False for what is not such a message, has not exactly one,
 * or asks for a name with other bytes than letters, digits, "-" and "_" in it. */
__attribute__((warn_unused_result)) bool dns__question(const uint8_t *message, size_t len, bool answer,
						       struct dns_question *out);

/* Call `each` for the A and AAAA records among an answer's answers, until it returns false. False when it did, or the
 * message is broken: then it is not to be passed on. */
__attribute__((warn_unused_result)) bool
dns__addresses(const uint8_t *message, size_t len, bool (*each)(void *arg, const struct address *address, uint32_t ttl),
	       void *arg);

/* Make a query (which dns__question has read) its own answer: that it is refused (RCODE 5). Returns the length. */
size_t dns__refuse(uint8_t *query, const struct dns_question *question);
/* Or that there is no such name (RCODE 3). */
size_t dns__absent(uint8_t *query, const struct dns_question *question);

/* Make a query (as above) its own answer: the addresses, all of the type that is asked for, or none; for one second, as
 * they may be others soon. There is room for DNS_ANSWER_MAX bytes each behind the question. Returns the length. */
size_t dns__answer(uint8_t *query, const struct dns_question *question, const struct address *addresses,
		   unsigned count);

/* The answer did not fit into its datagram (TC): by TCP it can be had whole. */
bool dns__is_cut(const uint8_t *message);

uint16_t dns__id(const uint8_t *message);
void dns__set_id(uint8_t *message, uint16_t id);

#endif
