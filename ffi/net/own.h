/* Which addresses are this machine's own, as its kernel says at the moment. */
#ifndef CAPSA_NET_OWN_H
#define CAPSA_NET_OWN_H

#include "net/address.h"

struct own;

/* What is wrong when there can be none, with the name of the error. */
#define OWN_UNKNOWN                                                                                                    \
	"the kernel does not say which addresses are this machine's own (%s): it needs sockets of AF_NETLINK, which "  \
	"a "                                                                                                           \
	"container's rules may forbid"

/* Opens what the kernel is asked by: of the network that the caller is in, before it is confined. 0 or -errno, when
 * this kernel cannot be asked, too. */
__attribute__((warn_unused_result)) int own__new(struct own **out);
void own__free(struct own *own);

/* A policy_own_fn, of a struct own: an answer that is not to be fresh may be a second old. An address of which the
 * kernel does not say counts as one of its own. */
bool own__holds(void *own, const struct address *address, bool fresh, uint64_t now);

#endif
