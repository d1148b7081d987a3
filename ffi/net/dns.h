/* DNS messages (RFC 1035, RFC 6891): what is asked, which addresses an answer gives, and answers of one's own. */
#ifndef CAPSA_NET_DNS_H
#define CAPSA_NET_DNS_H

#include "net/address.h"
#include "net/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_HEADER 12
#define DNS_A 1                            /* types: an IPv4 address, */
#define DNS_AAAA 28                        /* an IPv6 address */
#define DNS_IN 1                           /* class: the Internet */
#define DNS_ANSWER_MAX 28                  /* bytes of an answer with one of these */
#define DNS_NAME_MAX (4 * POLICY_NAME_MAX) /* bytes of a name as text */
#define DNS_PLAIN 512                      /* bytes of an answer by a datagram to who says nothing of its size */

enum dns_code {
	DNS_FINE,
	DNS_BROKEN_QUERY,
	DNS_SERVER_FAILED,
	DNS_NO_SUCH_NAME,
	DNS_NOT_IMPLEMENTED,
	DNS_REFUSED,
};

/*
 * The name is in small letters, with no dot at the end; "" for the root. Bytes but letters, digits, "-" and "_" are
 * written as "\046", in decimal: so is a dot that separates nothing, and no such name is below another that it is not.
 */
struct dns_question {
	char name[DNS_NAME_MAX + 1];
	uint16_t type, class;
	size_t len; /* of the message up to its end */
};

/* The one question of a query, or of an answer (`answer`). False for what is not such a message, or has not exactly
 * one. */
__attribute__((warn_unused_result)) bool dns__question(const uint8_t *message, size_t len, bool answer,
						       struct dns_question *out);
/* Whether it is a query of any kind, which an answer can be made to: see dns__fail. */
bool dns__is_query(const uint8_t *message, size_t len);
/* What is wrong with a query that has not exactly one question, or that nobody here carries (transfers of zones). */
enum dns_code dns__judge(const uint8_t *query, size_t len, struct dns_question *out);

/* Whether an answer, as long as its header at least, says that this server does not know and another may: it failed,
 * refused, does not do what is asked, or leads elsewhere. */
bool dns__is_failure(const uint8_t *answer);
/* It does not say everything (TC): by TCP it can be had whole. */
bool dns__is_cut(const uint8_t *answer);
enum dns_code dns__code(const uint8_t *answer);
const char *dns__code_name(enum dns_code code);

/* Call `each` for the A and AAAA records among an answer's answers, until it returns false. False when it did. */
__attribute__((warn_unused_result)) bool
dns__addresses(const uint8_t *message, size_t len, bool (*each)(void *arg, const struct address *address, uint32_t ttl),
	       void *arg);
/* Whether each record is all there: a message that is not is not to be passed on. */
__attribute__((warn_unused_result)) bool dns__is_whole(const uint8_t *message, size_t len);

/* The bytes that the answer to a query may have in a datagram (RFC 6891 section 6.2.3). */
size_t dns__room(const uint8_t *query, size_t len);
/* Make an answer that is longer one of at most `room` bytes, DNS_PLAIN or more: it is said to be cut (TC), keeps whole
 * records of its answers, and what it says of EDNS. Returns its length. */
size_t dns__cut(uint8_t *answer, size_t len, size_t room);

/* Make a query (which dns__question has read) its own answer without records. Returns the length. */
size_t dns__deny(uint8_t *query, const struct dns_question *question, enum dns_code code);
/* The same without its question, of a query of any kind. */
size_t dns__fail(uint8_t *query, enum dns_code code);

/* Make a query (as above) its own answer: the addresses, all of the type that is asked for, or none; for one second, as
 * they may be others soon. There is room for DNS_ANSWER_MAX bytes each behind the question. Returns the length. */
size_t dns__answer(uint8_t *query, const struct dns_question *question, const struct address *addresses,
		   unsigned count);

uint16_t dns__id(const uint8_t *message);
void dns__set_id(uint8_t *message, uint16_t id);

#endif
