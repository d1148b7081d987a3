/* Files of /etc that init writes into the guest's own layer: the sandbox's own name, and its name servers. */
#ifndef CAPSA_INIT_ETC_H
#define CAPSA_INIT_ETC_H

#include "process/strings.h"

/* What a share has in their place is the host's, and stays as it is. Both return 0 or -errno. */

/* The sandbox finds its own name in /etc/hosts, behind what is there, and asks nobody for it. */
__attribute__((warn_unused_result)) int etc__add_host(const char *name, const char *ipv4, const char *ipv6);

/* Write /etc/resolv.conf. `search` and `options` may be NULL. */
__attribute__((warn_unused_result)) int
etc__write_resolv_conf(const struct strings *servers, const struct strings *search, const struct strings *options);

#endif
