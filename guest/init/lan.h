/* The guest's cards at private networks, as the plan has them: lan0, lan1 and so on. */
#ifndef CAPSA_INIT_LAN_H
#define CAPSA_INIT_LAN_H

#include "init/network.h"

enum { LANS = 4 };

struct lan {
	unsigned char mac[6];
	struct network_side ipv4, ipv6;
};

struct lan_plan {
	struct lan lans[LANS];
	unsigned count;
	struct strings name_servers; /* where no other network has any */
};

/* Take "lans" of the plan's map, if they are there. Returns 0 or -errno with *why. */
__attribute__((warn_unused_result)) int lan_plan__take(struct lan_plan *plan, const CborValue *map, const char **why);
void lan_plan__free(struct lan_plan *plan);

/* Set them up, and write /etc/resolv.conf where the plan has name servers for it. Returns 0 or -errno; *what is what
 * failed. */
__attribute__((warn_unused_result)) int lan__configure(const struct lan_plan *plan, const char **what);

#endif
