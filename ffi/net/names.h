/* The names of the sandboxes on a machine's private networks, or without any its own, and their addresses. Its lans
 * write them, its name servers read them, each on threads of their own. */
#ifndef CAPSA_NET_NAMES_H
#define CAPSA_NET_NAMES_H

#include "net/dns.h"

#define NAMES_MAX 128 /* of all networks together */
#define NAMES_EACH 8  /* addresses of one name in an answer */
/* Bytes that names__answer may make a question longer by. */
#define NAMES_ROOM (NAMES_EACH * DNS_ANSWER_MAX)

struct names;

/* 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int names__new(struct names **out);
void names__free(struct names *names);

/* `name` (copied, at most LAN_NAME bytes) has the addresses of the pair, IPv4 and IPv6. One more than NAMES_MAX is not
 * found. */
void names__add(struct names *names, const char *name, const struct address pair[2]);
/* What was added with that pair's first is forgotten. */
void names__remove(struct names *names, const struct address pair[2]);

/* Make a query, which has NAMES_ROOM bytes behind its question, its own answer. Returns its length, 0 when the name is
 * none of these and the query is as it was. */
size_t names__answer(struct names *names, uint8_t *query, const struct dns_question *question);

#endif
