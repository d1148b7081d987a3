/* The name servers of a resolv.conf(5). */
#ifndef CAPSA_NET_RESOLV_CONF_H
#define CAPSA_NET_RESOLV_CONF_H

#include <stddef.h>

#include "net/name_server.h"

/* At most NAME_SERVERS of them, in their order; where there is none, 127.0.0.1. With what `options` says of how they
 * are asked. `text` need not end in NUL. src/network/host.ts reads the same at the start. */
void resolv_conf__read(const char *text, size_t len, struct name_servers *servers);

#endif
