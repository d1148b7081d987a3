/* Names that lead to Unix sockets of this machine, one for each port: whoever listens there speaks for the host that
 * has the name. To the guest each is an address of its own network. */
#ifndef CAPSA_NET_SERVICES_H
#define CAPSA_NET_SERVICES_H

#include "net/address.h"

#include <stdint.h>

#define SERVICES 64 /* at most */

struct service {
	const char *name;       /* in small letters */
	struct address address; /* IPv4; the name's, and no other's */
	uint16_t port;          /* TCP */
	const char *socket;     /* path */
};

struct services {
	struct service *at;
	unsigned count;
};

/* The one at this port. NULL when there is none. */
const struct service *services__find(const struct services *services, const struct address *address, uint16_t port);
/* Where the name leads to; NULL: it is no service's. */
const struct address *services__address_of(const struct services *services, const char *name);
/* The name that leads there; NULL: none does. */
const char *services__name_of(const struct services *services, const struct address *address);

#endif
