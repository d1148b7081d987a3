/* The guest's network, as the plan has it: addresses, routes and name servers are given, nothing is waited for. */
#ifndef CAPSA_INIT_NETWORK_H
#define CAPSA_INIT_NETWORK_H

#include <stdbool.h>

#include "init/interface.h"
#include "process/strings.h"

struct network_plan {
	bool present;
	struct network_side ipv4, ipv6;
	struct strings name_servers, search, options;
};

/* Take "network" of the plan's map, if it is there. Returns 0 or -errno with *why. */
__attribute__((warn_unused_result)) int network_plan__take(struct network_plan *plan, const CborValue *map,
							   const char **why);
void network_plan__free(struct network_plan *plan);

/* Set up eth0 and write /etc/resolv.conf, if the plan has a network; after those of private networks have their names.
 * Returns 0 or -errno; *what is what failed. */
__attribute__((warn_unused_result)) int network__configure(const struct network_plan *plan, const char **what);

#endif
