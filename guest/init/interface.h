/* A network card of the guest: its name, its addresses, its routes. */
#ifndef CAPSA_INIT_INTERFACE_H
#define CAPSA_INIT_INTERFACE_H

#include <stdint.h>

#include "common/reader.h"

enum { INTERFACES = 8 }; /* looked for, eth0 and so on */

/* One family's side; texts as in the plan. */
struct network_side {
	char *address, *gateway; /* gateway: NULL where nothing is behind the cable */
	uint8_t prefix;          /* bits */
};

/* Take the map at `key`: address, prefix and perhaps gateway, of AF_INET or AF_INET6. Returns 0 or -errno. */
__attribute__((warn_unused_result)) int network_side__take(struct network_side *side, const CborValue *map,
							   const char *key, int family);
void network_side__free(struct network_side *side);

/* All of these return 0 or -errno, -ENODEV without such a card. The order in which the kernel finds cards is the
 * machine's affair: those that are not alone are known by their Ethernet address. */

/* The card with that address is called `name` from now on. */
__attribute__((warn_unused_result)) int interface__name(const unsigned char mac[6], const char *name);
/* The first that has still the kernel's name is called `name`. */
__attribute__((warn_unused_result)) int interface__become(const char *name);
/* Give it its addresses and routes, and switch it on. */
__attribute__((warn_unused_result)) int interface__set_up(const char *name, const struct network_side *ipv4,
							  const struct network_side *ipv6);

#endif
