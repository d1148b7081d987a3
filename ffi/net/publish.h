/* Ports of the host that lead to the guest. */
#ifndef CAPSA_NET_PUBLISH_H
#define CAPSA_NET_PUBLISH_H

#include <slirp/libslirp.h>

#include "net/nat.h"

/* Listen for one; port 0 becomes one that is free. At most NAT_PUBLISHED in all, before anything else has a socket of
 * this `slirp`. 0, or -errno with *why. */
__attribute__((warn_unused_result)) int publish__bind(Slirp *slirp, const struct net_addresses *addresses,
						      struct nat_publish *port, struct failure *why);

#endif
