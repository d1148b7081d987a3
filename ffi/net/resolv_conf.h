/* The name servers of a resolv.conf(5). */
#ifndef CAPSA_NET_RESOLV_CONF_H
#define CAPSA_NET_RESOLV_CONF_H

#include <stddef.h>

#include "net/resolver.h"

/* At most RESOLVER_SERVERS of them, in their order; where there is none, 127.0.0.1. One with an interface
 * (fe80::1%eth0) is left out. How many. `text` need not end in NUL. src/network/host.ts reads the same at the start. */
unsigned resolv_conf__servers(const char *text, size_t len, struct address servers[RESOLVER_SERVERS]);

#endif
